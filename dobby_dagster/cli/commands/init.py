"""``dobby init``: write a settings file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from dobby_dagster.cli import options
from dobby_dagster.cli.output import note
from dobby_dagster.domain.errors import SettingsError, StoreAccessError
from dobby_dagster.domain.remembered import value_of
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.settings_loader import DEFAULT_FILE

if TYPE_CHECKING:
    from dobby_dagster.domain.settings_loader import Loaded

# The settings in the file, set or as comments; dobby config shows all others.
SHOWN = (
    "database.url", "source.relation", "source.key", "source.content", "source.language", "source.updated_at",
    "model.path", "model.device", "prompt.id", "inference.slots", "pipeline.batch_size",
)  # fmt: skip


@options.takes("database", *options.SOURCE, "language", "updated_at", "model", "prompt", config=False)
def init(given: options.Given, force: options.Force = False) -> None:
    """Write a dobby.toml with these options; every command in this folder reads it.

    Example: dobby init --database sqlite:///code.db --relation code_data --key id --content body
    """
    from dobby_dagster.domain.atomic_file import replacing
    from dobby_dagster.domain.settings_loader import load_settings
    from dobby_dagster.inference.recipe import recipe_for
    from dobby_dagster.store.cozo_store import CozoStore

    path = Path(DEFAULT_FILE)
    if path.exists() and not force:
        raise StoreAccessError(f"'{path}' exists already", hint="--force replaces it")
    named_relation = given.settings["source.relation"] is not None
    loaded = load_settings(given.settings, file=path if path.exists() else None)
    settings = loaded.settings
    try:
        CozoStore.open(settings.database, create=False).source(settings.source)
    except StoreAccessError as error:
        if named_relation or not _is_missing(error):
            raise
    recipe_for(settings)
    with replacing(path, overwrite=force) as draft:
        draft.write_text(toml_of(loaded), encoding="utf-8")
    note(
        f"{path} written. Next: " + ("dobby summarize" if named_relation else "dobby ingest PATH, then dobby summarize")
    )


def _is_missing(error: StoreAccessError) -> bool:
    return error.message.startswith("there is no database")


def toml_of(loaded: Loaded) -> str:
    """The text of a settings file: given settings as such, defaults as comments, each with its description.

    Raises:
        SettingsError: A value can't be written in TOML.
    """
    lines = ["# Settings of dobby; `dobby config` shows all settings, their values and origins."]
    section = ""
    for name in SHOWN:
        of, field = name.split(".")
        if of != section:
            section = of
            lines += ["", f"[{section}]"]
        value = value_of(loaded.settings, name)
        described = type(getattr(Settings(), of)).model_fields[field].description or ""
        line = f"{field} = {_toml(name, '' if value is None else value)}"
        lines += [f"# {described}", line if name in loaded.origins else f"# {line}"]
    return "\n".join(lines) + "\n"


def _toml(name: str, value: object) -> str:
    if isinstance(value, str) and not value.isprintable():
        raise SettingsError(f"{name} = {value!r} can't be written to a settings file")
    return json.dumps(value, ensure_ascii=False)  # TOML writes strings, numbers and booleans as JSON does
