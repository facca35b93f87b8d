"""The sections of the settings as configuration of Dagster's resources: the same names and help texts.

Every field is optional: what a run's configuration does not name is as in the settings, and a launchpad is empty at
first. Dagster's configuration has neither paths nor tuples, and no optional choices: a path and a choice become a
string, a tuple a list. Secrets are left out, because the UI shows a run's configuration to everyone.
"""

import types
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import dagster as dg
from pydantic import Field, SecretStr, create_model
from pydantic.fields import FieldInfo

from dobby_dagster.domain.settings_section import Section

S = TypeVar("S", bound=Section)


def section_config(section: type[Section], base: type[Any] = dg.Config) -> type[Any]:
    """A subclass of ``base`` with the fields of ``section``, all None, its secrets left out.

    >>> from dobby_dagster.domain.settings import PromptSettings
    >>> section_config(PromptSettings)(id="detailed")
    PromptConfig(id='detailed', file=None, callees=None)
    """
    hints = get_type_hints(section, include_extras=True)
    fields: dict[str, Any] = {
        name: (_config_type(hints[name]) | None, Field(default_factory=_unset, description=_help(field, hints[name])))
        for name, field in section.model_fields.items()
        if not _is_secret(hints[name])
    }
    return create_model(section.__name__.replace("Settings", "Config"), __base__=base, **fields)


def section_of(settings: S, config: Any, **secrets: Any) -> S:
    """``settings`` with the values that ``config`` names.

    Args:
        settings: A section of the settings.
        config: An instance of its :func:`section_config`.
        secrets: The section's secrets, which stand in no configuration; those of ``settings`` are left out.

    Raises:
        ValidationError: A value in a run's configuration is out of its bounds.

    >>> from dobby_dagster.domain.settings import PromptSettings
    >>> section_of(PromptSettings(id="detailed"), section_config(PromptSettings)(file="mine.toml"))
    PromptSettings(id='detailed', file=PosixPath('mine.toml'), callees=0)
    """
    names = type(settings).model_fields.keys() & type(config).model_fields.keys()
    named = {name: value for name in names if (value := getattr(config, name)) is not None}
    return type(settings).model_validate({name: getattr(settings, name) for name in names} | named | secrets)


def _unset() -> None:
    """The default of every field, as a function: a launchpad fills in defaults that are values."""


def _help(field: FieldInfo, annotation: Any) -> str:
    choices = f" One of: {', '.join(get_args(annotation))}." if get_origin(annotation) is Literal else ""
    return f"{field.description}{choices} By default as in the settings."


def _config_type(annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _config_type(arguments[0])
    if origin is tuple:
        return list[_config_type(arguments[0])]  # type: ignore[misc]
    if origin in (Union, types.UnionType):
        return Union[tuple(_config_type(argument) for argument in arguments)]  # noqa: UP007
    return str if annotation is Path or origin is Literal else annotation


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_is_secret(argument) for argument in get_args(annotation))
