"""Commands about the system: status, config, models, doctor, dev, backup, restore."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.commands.redo_command import lines, look
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import is_unicode, note, out, print_json, print_table
from dobby_dagster.cli.progress_bars import working
from dobby_dagster.cli.recipe_labels import settings_by_recipe
from dobby_dagster.domain.addresses import mask_credentials
from dobby_dagster.domain.errors import StoreError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import shell_word
from dobby_dagster.domain.remembered import REMEMBERED, as_environment
from dobby_dagster.domain.settings_loader import load_settings

MEANINGS = {"rows": "rows in the source", "unplanned": "new, not planned yet", "records": "records planned"}

if TYPE_CHECKING:
    from dobby_dagster.inference.models.model_folder import ModelFolder


def status(
    database: options.Database = None,
    relation: options.Relation = None,
    recipe: Annotated[
        str | None, typer.Option(help="Model and prompt, by identifier; by default the last used.")
    ] = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Show how far the records are: rows of the source, counts by state, batches, summaries."""
    use = opened(config, database__url=database, source__relation=relation)
    chosen = use.recipe(recipe)
    counts = use.store.reports.overview(use.source, chosen)
    recipes = use.store.recipes.all()
    if as_json:
        print_json(
            {
                **counts,
                **(look(use, chosen).metrics() if chosen else {}),
                "database": mask_credentials(use.settings.database.url),
                "relation": use.relation,
                "recipe": chosen,
            }
        )
        return
    print_table([use.relation, "count"], [(MEANINGS.get(name, name), f"{n:,}") for name, n in counts.items()])
    if recipes:
        settings = settings_by_recipe(recipes)
        rows = [
            ("*" if r["recipe"] == chosen else "", r["recipe"], r["model"], r["prompt"], settings[r["recipe"]])
            for r in recipes
        ]
        print_table(["", "recipe", "model", "prompt", "settings"], rows)
    for line in lines(use, look(use, chosen)) if chosen else []:
        out.print(line, soft_wrap=True)
    left = counts["unplanned"] + counts["pending"]
    if left:
        out.print(f"{counted(left, 'record')} to do: {use.command('summarize')}", soft_wrap=True)


def show_config(
    database: options.Database = None, config: options.ConfigFile = None, as_json: options.Json = False
) -> None:
    """Show each setting, its value, and where it came from; secrets are masked."""
    from dobby_dagster.store.cozo_store import CozoStore

    loaded = load_settings({"database.url": database}, file=config)
    with suppress(StoreError):  # settings are shown whatever the database is
        memory = CozoStore.open(loaded.settings.database, create=False).memory
        loaded = load_settings({"database.url": database}, file=config, memory=memory)
    rows = loaded.rows()
    if as_json:
        print_json({name: {"value": value, "origin": origin} for name, value, origin, _ in rows})
    else:
        print_table(["setting", "value", "from", "what it is"], rows)


def models(as_json: options.Json = False) -> None:
    """List the models that come with Dobby, and the prompts."""
    from dobby_dagster.inference.models.model_folder import check_folder, shelf
    from dobby_dagster.inference.prompts import PromptLibrary

    prompts = PromptLibrary.load().prompts.values()
    folders = [check_folder(path) for path in shelf().values()]
    if as_json:
        print_json(
            {
                "models": [
                    {"name": f.name, "path": str(f.path), "architecture": f.architecture, **f.card} for f in folders
                ],
                "prompts": [{"id": p.id, "version": p.version, "description": p.description} for p in prompts],
            }
        )
        return
    rows = [(f.name, f.architecture, f"{f.size / 1e6:.0f} MB", _about(f)) for f in folders]
    print_table(["model", "architecture", "size", "what it is"], rows)
    out.print("Any folder of Qwen2 or Llama architecture with safetensors will do: --model PATH.\n", highlight=False)
    print_table(["prompt", "what it asks"], [(p.name, p.description) for p in prompts])


def _about(folder: ModelFolder) -> str:
    confidence = f" Its confidence is {folder.calibration.meaning}." if folder.calibration else ""
    return f"{folder.card.get('description', '')}{confidence}"


def doctor(
    database: options.Database = None,
    relation: options.Relation = None,
    key: options.Key = None,
    content: options.ContentColumn = None,
    model: options.Model = None,
    device: options.Device = None,
    prompt: options.PromptId = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Check versions, database, model and device: what works, and what to do about the rest."""
    from dobby_dagster.cli.commands.doctor import diagnose

    named = {
        "database__url": database, "source__relation": relation, "source__key": key, "source__content": content,
        "model__path": model, "model__device": device, "prompt__id": prompt,
    }  # fmt: skip
    command: Callable[..., str]
    try:
        use = opened(config, **named)
    except StoreError:  # which the diagnosis will say, too, among the rest
        settings, command = options.settings_from(config, **named), _plain_command
    else:
        settings, command = use.settings, use.command
    with working("Looking at versions, database, model and device…"):
        findings = diagnose(settings, command)
    if as_json:
        print_json([finding.__dict__ for finding in findings])
    else:
        good, bad, arrow = ("✓", "✗", "→") if is_unicode() else ("ok", "!", "->")
        rows = [
            (good if f.ok else bad, f.name, f.message + (f"\n{arrow} {f.remedy}" if f.remedy else "")) for f in findings
        ]
        print_table(["", "what", "how it is"], rows)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _plain_command(name: str, *arguments: str) -> str:
    return " ".join(["dobby", name, *map(shell_word, arguments)])


def dev(
    database: options.Database = None,
    relation: options.Relation = None,
    key: options.Key = None,
    content: options.ContentColumn = None,
    model: options.Model = None,
    prompt: options.PromptId = None,
    prompt_file: options.PromptFile = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; where others can reach it, the UI asks for a login.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Of the Dagster UI; 0 for any that is free.")] = 3000,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name by which browsers reach the UI, of a proxy say.")
    ] = None,
    automation: Annotated[
        bool | None, typer.Option("--automation/--no-automation", help="Start sensors and schedules; on by default.")
    ] = None,
    config: options.ConfigFile = None,
) -> None:
    """Start the Dagster UI and daemon with this project, and keep them alive."""
    from dobby_dagster.cli.server.dev_services import serve
    from dobby_dagster.defs.runs.dagster_home import dagster_home
    from dobby_dagster.inference.recipe import recipe_for

    use = opened(
        config, database__url=database, source__relation=relation, source__key=key, source__content=content,
        model__path=model, prompt__id=prompt, prompt__file=prompt_file, automation__enabled=automation,
    )  # fmt: skip
    _ = use.source.types
    recipe_for(use.settings)
    environment = {**os.environ, **as_environment(use.settings, ("database.url", "automation.enabled", *REMEMBERED))}
    environment |= {"DOBBY_CONFIG": str(config)} if config else {}
    environment["DAGSTER_HOME"] = str(dagster_home(use.settings))
    serve(Path(environment["DAGSTER_HOME"]), host, port, allow_host or [], environment, note)


def recover(
    database: options.Database = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Recover what dead processes left behind: their runs, the records they had started, pool slots."""
    from dobby_dagster.defs.runs import crash_recovery
    from dobby_dagster.defs.runs.dagster_home import opened_instance
    from dobby_dagster.store.cozo_store import CozoStore

    settings = options.settings_from(config, database__url=database)
    store = CozoStore.open(settings.database, create=False)
    with opened_instance(settings) as instance:
        found = crash_recovery.repair(instance, store)
    if as_json:
        print_json({"runs": found.runs, "records": found.records + found.repaired, "slots": found.slots})
    else:
        out.print(f"{found}." if found else "Nothing was stuck.", highlight=False)


def backup(
    path: Annotated[Path, typer.Argument(help="A new file.")],
    database: options.Database = None,
    config: options.ConfigFile = None,
) -> None:
    """Write the whole database, your relation included, to one file, and read it again."""
    from dobby_dagster.store.cozo_store import CozoStore

    settings = options.settings_from(config, database__url=database)
    store = CozoStore.open(settings.database, create=False)
    with working(f"Writing {path}…"):
        held = store.backup(path)
    if settings.database.url.startswith("http"):
        note(f"the server wrote {path} on its machine; it held {held.summary}, and the file was not read again")
    else:
        note(f"backup written to {path} and verified: {held.summary}")


def restore(
    path: Annotated[Path, typer.Argument(help="A backup.")],
    database: options.Database = None,
    config: options.ConfigFile = None,
) -> None:
    """Fill a new, empty database from a backup."""
    from dobby_dagster.store.maintenance.backup_file import restore as run

    settings = options.settings_from(config, database__url=database)
    with working(f"Reading {path}…"):
        held = run(settings.database, path)
    note(f"{settings.database.url} restored from {path} and verified: {held.summary}")
