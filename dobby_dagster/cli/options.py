"""Options that several commands share. An option that stands for a setting is written once, here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from dobby_dagster.domain.settings_loader import Loaded, load_settings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to standard output, and nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")]
Language = Annotated[str | None, typer.Option(help="Only records in this language.")]
Kind = Annotated[str | None, typer.Option(help="Only records of this kind: function, class, section, …")]
Below = Annotated[float | None, typer.Option(min=0, max=1, help="Only summaries with a lower confidence.")]
Unsure = Annotated[bool, typer.Option("--unsure", help="Only unsure summaries.")]
Stale = Annotated[bool, typer.Option("--stale", help="Only records that have changed since their summary.")]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        "--model",
        help="Whose summaries: a model's name, or the identifier of a recipe; by default those used last.",
    ),
]
Page = Annotated[int, typer.Option(min=1, help="Which page.")]
_ConfigFile = Annotated[Path | None, typer.Option("--config", help="Settings file; by default dobby.toml.")]

SOURCE = ("relation", "key", "content")
# By its parameter's name, each option: the setting that it stands for, its type, and how it is shown.
_SETTINGS: dict[str, tuple[str, type, Any]] = {
    "database": (
        "database.url", str,
        typer.Option("--database", "-d", help="sqlite:///PATH, rocksdb:///PATH or http://HOST:PORT."),
    ),
    "relation": (
        "source.relation", str, typer.Option(help="The relation to summarise; by default Dobby's own, 'record'.")
    ),
    "key": ("source.key", str, typer.Option(help="The relation's key column.")),
    "content": ("source.content", str, typer.Option(help="The column to summarise.")),
    "language": ("source.language", str, typer.Option(help="A column that names the language.")),
    "priority": ("source.priority", str, typer.Option(help="An integer column; higher values are summarised first.")),
    "updated_at": (
        "source.updated_at", str, typer.Option(help="A column that grows with each change; avoids a full scan.")
    ),
    "allow_triggers": (
        "source.allow_triggers", bool,
        typer.Option("--allow-triggers", help="Let Dobby set triggers on your relation, to detect changes."),
    ),
    "model": (
        "model.path", str, typer.Option("--model", "-m", help="A model folder, GGUF file, or bundled model.")
    ),
    "device": ("model.device", str, typer.Option(help="auto, mps, cuda or cpu.")),
    "slots": ("inference.slots", int, typer.Option(help="Maximum batch size: records generated at once.")),
    "prompt": ("prompt.id", str, typer.Option(help="summary, functionality, …, or a prompt of your own.")),
    "prompt_file": ("prompt.file", Path, typer.Option(help="TOML file with your own prompts.")),
    "max_new_tokens": (
        "inference.max_new_tokens", int,
        typer.Option(min=1, max=4096, help="Longest summary in tokens; by default the prompt's limit."),
    ),
    "batch_size": ("pipeline.batch_size", int, typer.Option(help="Maximum records per batch.")),
    "reproducible": (
        "inference.reproducible", bool,
        typer.Option("--reproducible", help="Byte-identical regardless of batching; slower."),
    ),
    "below": (
        "pipeline.unsure_below", float,
        typer.Option(min=0, max=1, help="Summaries with a lower confidence; by default the unsure ones."),
    ),
    "monitor_host": (
        "monitor.host", str,
        typer.Option("--host", help="Address to listen at; one that others can reach needs a token."),
    ),
    "monitor_port": ("monitor.port", int, typer.Option("--port", help="Port; 0 for any free one.")),
    "mcp_host": (
        "mcp.host", str,
        typer.Option("--host", help="With --http: address to listen at; one that others can reach needs a token."),
    ),
    "mcp_port": ("mcp.port", int, typer.Option("--port", help="With --http: port; 0 for any free one.")),
    "dagster_url": (
        "monitor.dagster_url", str,
        typer.Option("--dagster-url", help="URL of Dagster's web server; without it Dagster is not checked."),
    ),
    "automation": (
        "automation.enabled", bool,
        typer.Option("--automation/--no-automation", help="Start sensors and schedules; on by default."),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Given:
    """The settings that a command line names.

    Attributes:
        settings: Values by setting, as ``{"source.key": "id"}``; None where the option was not given.
        config: The settings file; None for the default one.
    """

    settings: Mapping[str, Any]
    config: Path | None = None

    def load(self, memory: Mapping[str, Any] | None = None) -> Loaded:
        """All settings: the named ones over the environment, the file, what the database remembers, and the defaults.

        Raises:
            SettingsError: A setting is unknown or invalid.
        """
        return load_settings(self.settings, file=self.config, memory=memory)


def highest_confidence(below: float | None, unsure_below: float | None) -> float | None:
    """The limit of ``--below`` together with that of ``--unsure``; None where neither was given."""
    limits = [limit for limit in (below, unsure_below) if limit is not None]
    return min(limits) if limits else None


def takes(*names: str, config: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that adds options to a command, whose first parameter gets them as one :class:`Given`.

    Args:
        names: Options, as in ``takes("database", *SOURCE)``.
        config: Add ``--config``, too.

    >>> @takes("database", "slots")
    ... def command(given: Given, as_json: Json = False) -> None:
    ...     print(given.settings)
    >>> command(database="mem:", slots=4, as_json=False, config=None)
    {'database.url': 'mem:', 'inference.slots': 4}
    >>> list(inspect.signature(command).parameters)
    ['as_json', 'database', 'slots', 'config']
    """
    chosen = {name: _SETTINGS[name] for name in names}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**arguments: Any) -> None:
            named = {setting: arguments.pop(name) for name, (setting, _, _) in chosen.items()}
            command(Given(named, arguments.pop("config", None)), **arguments)

        signature = inspect.signature(command, eval_str=True)
        _, *own = signature.parameters.values()
        annotations: dict[str, Any] = {
            name: Annotated[kind | None, option] for name, (_, kind, option) in chosen.items()
        }
        if config:
            annotations["config"] = _ConfigFile
        options = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in annotations.items()
        ]
        # Typer reads both.
        run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *options)}
        return run

    return decorate
