"""The sections of the settings as configuration of Dagster's resources: the same names, defaults and help texts.

Dagster's configuration has neither paths nor tuples: a path becomes a string, a tuple a list. Secrets are left out,
because the UI shows a run's configuration to everyone.
"""

import types
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import dagster as dg
from pydantic import Field, SecretStr, create_model

from dobby_dagster.domain.settings_section import Section

S = TypeVar("S", bound=Section)


def section_config(section: type[Section], base: type[Any] = dg.Config) -> type[Any]:
    """A subclass of ``base`` with the fields of ``section``, its secrets left out.

    >>> from dobby_dagster.domain.settings import PromptSettings
    >>> section_config(PromptSettings)(id="detailed")
    PromptConfig(id='detailed', file=None)
    """
    hints = get_type_hints(section, include_extras=True)
    fields: dict[str, Any] = {
        name: (_config_type(hints[name]), Field(_config_value(field.default), description=field.description))
        for name, field in section.model_fields.items()
        if not _is_secret(hints[name])
    }
    return create_model(section.__name__.replace("Settings", "Config"), __base__=base, **fields)


def config_values(section: Section) -> dict[str, Any]:
    """The values of ``section`` as keyword arguments for its :func:`section_config`."""
    hints = get_type_hints(type(section), include_extras=True)
    names = [name for name in type(section).model_fields if not _is_secret(hints[name])]
    return {name: _config_value(getattr(section, name)) for name in names}


def section_of(section: type[S], config: Any, **secrets: Any) -> S:
    """The section that ``config`` holds the values of.

    Args:
        section: Its class.
        config: An instance of its :func:`section_config`.
        secrets: The values that stand in no configuration.

    Raises:
        ValidationError: A value in a run's configuration is out of its bounds.
    """
    names = section.model_fields.keys() & type(config).model_fields.keys()
    return section.model_validate({name: getattr(config, name) for name in names} | secrets)


def _config_type(annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _config_type(arguments[0])
    if origin is tuple:
        return list[_config_type(arguments[0])]  # type: ignore[misc]
    if origin in (Union, types.UnionType):
        return Union[tuple(_config_type(argument) for argument in arguments)]  # noqa: UP007
    return str if annotation is Path else annotation


def _config_value(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_is_secret(argument) for argument in get_args(annotation))
