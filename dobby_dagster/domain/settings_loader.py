"""Loads settings from defaults, the database's memory, a TOML file, the environment and arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from dobby_dagster.domain.addresses import mask_credentials
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.remembered import remembered_values
from dobby_dagster.domain.secrets import MASK
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.suggest import suggestion
from dobby_dagster.domain.toml_files import read_toml

REMEMBERED_ORIGIN = "remembered in the database"
DEFAULT_FILE = "dobby.toml"
WELL_KNOWN = {"DATABASE_URL": "database.url", "MODEL_PATH": "model.path"}
NOT_SETTINGS = {"DOBBY_CONFIG"}
URLS = {"database.url", "model.url", "search.url"}
_WITHOUT_IT = "remove it; then dobby config lists all settings"


def setting_names() -> dict[str, type[BaseModel]]:
    """Every setting as ``section.name``, with its section's class; what a section inherits comes last in it."""
    names: dict[str, type[BaseModel]] = {}
    for section, info in Settings.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = sorted(kind.model_fields, key=lambda name: name not in kind.__annotations__)
            names |= {f"{section}.{name}": kind for name in fields}
    return names


@dataclass(frozen=True)
class Loaded:
    """Valid settings, and the origin of each value that is not a default."""

    settings: Settings
    origins: Mapping[str, str]

    def rows(self) -> list[tuple[str, str, str, str]]:
        """``(name, value, origin, description)`` of every setting, secrets masked."""
        rows = []
        for name, kind in setting_names().items():
            section, field = name.split(".")
            value = getattr(getattr(self.settings, section), field)
            text = _shown(value)
            origin = self.origins.get(name, "default")
            rows.append((name, text, origin, kind.model_fields[field].description or ""))
        return rows


def is_secret(name: str) -> bool:
    """Whether the setting ``name`` has a secret type, so that its value is never shown."""
    kind = setting_names().get(name)
    return kind is not None and "SecretStr" in repr(kind.model_fields[name.split(".")[1]])


def _shown(value: Any) -> str:
    if isinstance(value, tuple) and any(isinstance(each, SecretStr) for each in value):
        return str(value[0])  # of a command, show not even the length
    return str(value)


def load_settings(
    arguments: Mapping[str, Any] | None = None,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    memory: Mapping[str, Any] | None = None,
) -> Loaded:
    """Merge all sources and validate the result.

    Args:
        arguments: ``section.name`` to value; None means not given.
        file: The TOML file; by default ``$DOBBY_CONFIG``, else ``dobby.toml`` if it exists.
        environment: By default the process's environment.
        memory: What the database remembers of earlier commands; see :mod:`dobby_dagster.domain.remembered`.

    Raises:
        SettingsError: A setting is unknown or invalid; the message has its name, value, origin and what is allowed.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in (*_file_layers(file, environment), *_environment_layers(environment)):
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    values |= given
    origins |= dict.fromkeys(given, "argument")
    _refuse_unknown(values, origins)
    if memory:
        known = remembered_values(memory, values)
        values |= known
        origins |= dict.fromkeys(known, REMEMBERED_ORIGIN)
    return Loaded(_validate(values, origins), origins)


def _file_layers(file: Path | None, environment: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    named = file or (Path(environment["DOBBY_CONFIG"]) if environment.get("DOBBY_CONFIG") else None)
    path = named or Path(DEFAULT_FILE)
    if named is None and not path.exists():
        return []
    tables = read_toml(path, "settings file", SettingsError)
    layer: dict[str, Any] = {}
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(
                f"{path}: '{section}' is outside a section", hint=suggestion(section, Settings.model_fields)
            )
        layer |= {f"{section}.{name}": value for name, value in table.items()}
    return [(str(path), layer)]


def _environment_layers(environment: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    known = {f"DOBBY_{name.replace('.', '_').upper()}": name for name in setting_names()} | WELL_KNOWN
    layers = []
    links = _service_links(environment)
    for variable, text in environment.items():
        if variable in links:
            continue
        if variable in known:
            layers.append((f"environment, {variable}", {known[variable]: _from_text(known[variable], text)}))
        elif variable.startswith("DOBBY_") and variable not in NOT_SETTINGS:
            raise SettingsError(
                f"environment: unknown setting {variable}", hint=suggestion(variable, known, _WITHOUT_IT, "DOBBY_")
            )
    return layers


def _service_links(environment: Mapping[str, str]) -> set[str]:
    """The variables that Kubernetes sets in a pod for each service of its namespace whose name begins with ``dobby``.

    >>> links = {"DOBBY_SERVICE_HOST": "10.0.0.1", "DOBBY_PORT": "tcp://10.0.0.1:3000"}
    >>> _service_links({**links, "DOBBY_MONITOR_PORT": "3001"}) == set(links)
    True
    """
    found: set[str] = set()
    for host in (name for name in environment if name.startswith("DOBBY_") and name.endswith("_SERVICE_HOST")):
        service = host.removesuffix("_SERVICE_HOST")
        found |= {name for name in environment if name.startswith((f"{service}_SERVICE_", f"{service}_PORT_"))}
        if "://" in environment.get(f"{service}_PORT", ""):  # else it may be the setting monitor.port
            found.add(f"{service}_PORT")
    return found


def _from_text(name: str, text: str) -> Any:
    section, field = name.split(".")
    default = getattr(getattr(Settings(), section), field)
    if default is None and not text.strip():
        return None  # an empty variable counts as not set
    return tuple(part.strip() for part in text.split(",") if part.strip()) if isinstance(default, tuple) else text


def _refuse_unknown(values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    known = setting_names()
    for name in values:
        if name not in known:
            raise SettingsError(f"{origins[name]}: unknown setting '{name}'", hint=suggestion(name, known, _WITHOUT_IT))


def _validate(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    nested: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, field = name.split(".")
        nested.setdefault(section, {})[field] = value
    try:
        return Settings.model_validate(nested)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"][:2])
            message = problem["msg"].removeprefix("Value error, ").replace("Input should be ", "must be ")
            message = message.replace("must be a valid tuple", "must be a list").partition(", unable to parse")[0]
            origin = f" (from {origins[name]})" if name in origins else ""
            problems.append(f"{name}{_invalid(name, problem['input'])}: {message}{origin}")
        raise SettingsError("; ".join(problems)) from None


def _invalid(name: str, value: Any) -> str:
    """The value for a message; masked if it is secret, empty for a whole section, which may contain secrets."""
    if name not in setting_names():
        return ""
    if is_secret(name):
        return f" = {MASK} is invalid"
    shown = mask_credentials(value) if name in URLS and isinstance(value, str) else value
    return f" = {shown!r} is invalid"
