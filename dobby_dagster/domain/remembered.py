"""The settings that a database remembers: the source, its columns, the model and the prompt in use.

Server addresses and secrets are not remembered: a database may come from somebody else, and a secret is sent only to
the address that it was configured with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dobby_dagster.domain.settings import OWN_RELATION, Settings, SourceSettings

# Remembered per relation.
COLUMNS = tuple(f"source.{name}" for name in SourceSettings.model_fields if name != "relation")
IN_USE = (
    "model.path",
    "model.quantization",
    "prompt.id",
    "prompt.file",
    "prompt.callees",
    "inference.reproducible",
    "inference.max_new_tokens",
    "inference.second_try",
)
REMEMBERED = ("source.relation", *COLUMNS, *IN_USE)


def value_of(settings: Settings, name: str) -> Any:
    """The value of ``section.name``, as JSON has it."""
    section, field = name.split(".")
    return getattr(settings, section).model_dump(mode="json")[field]


def as_environment(settings: Settings, names: Iterable[str]) -> dict[str, str]:
    """Environment variables that give another process the settings ``names``, regardless of its settings file."""
    values = {name: value_of(settings, name) for name in names}
    texts = {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in values.items()
        if value is not None
    }
    variables = {"database.url": "DATABASE_URL", "model.path": "MODEL_PATH"}
    return {variables.get(name, f"DOBBY_{name.replace('.', '_').upper()}"): text for name, text in texts.items()}


def memory_of(settings: Settings, before: Mapping[str, Any]) -> dict[str, Any]:
    """What to remember of ``settings``, along with the columns of other relations in ``before``."""
    relation = settings.source.relation
    defaults = Settings()

    def differing(names: tuple[str, ...]) -> dict[str, Any]:
        values = {name: value_of(settings, name) for name in names}
        return {name: value for name, value in values.items() if value != value_of(defaults, name)}

    in_use = differing(IN_USE)
    for name in ("model.path", "prompt.file"):  # so that the next command may run in another folder
        if name in in_use and Path(in_use[name]).expanduser().exists():
            in_use[name] = str(Path(in_use[name]).expanduser().resolve())
    columns = {**_mapping(before.get("columns")), relation: differing(COLUMNS)}
    return {"relation": relation, "columns": columns, "in_use": in_use}


def remembered_values(memory: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings from ``memory`` that are not ``given``.

    Columns are those of the given relation, by default the remembered one. A given prompt file discards the remembered
    prompt.
    """
    relation = given.get("source.relation", memory.get("relation", OWN_RELATION))
    values = {"source.relation": relation, **_mapping(_mapping(memory.get("columns")).get(relation))}
    values |= _mapping(memory.get("in_use"))
    if "prompt.file" in given:
        values.pop("prompt.id", None)
    return {name: value for name, value in values.items() if name in REMEMBERED and name not in given}


def changes_in_use(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What a memory has in use that was different in an earlier one, as ``model.path = A (before: B)``.

    >>> changes_in_use({"in_use": {"prompt.callees": 4}}, {"in_use": {"prompt.callees": 4, "model.path": "m"}})
    ['model.path = m (before: dobby-code-73m)']
    """
    old, new, defaults = _mapping(before.get("in_use")), _mapping(after.get("in_use")), Settings()
    found = []
    for name in IN_USE:
        was, now = (each.get(name, value_of(defaults, name)) for each in (old, new))
        if was != now:
            found.append(f"{name} = {now} (before: {was})")
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
