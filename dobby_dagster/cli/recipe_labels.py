"""How recipes are named: by the beginning of their identifiers, and by the settings in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dobby_dagster.domain.settings import InferenceSettings

# Digits of an identifier that are enough where no other begins with them.
LEAST_DIGITS = 4


def has_identifier(recipe: str, named: str) -> bool:
    """Whether ``named`` is the identifier ``recipe``, or its beginning.

    >>> has_identifier("8c1f5d0e9b2a7c46", "8c1f"), has_identifier("8c1f5d0e9b2a7c46", "8c1")
    (True, False)
    """
    return recipe == named or (len(named) >= LEAST_DIGITS and recipe.startswith(named))


def non_default_settings(settings: Mapping[str, Any]) -> str:
    """The settings of a recipe that are not the defaults, as ``quantization=int8``, or "default settings"."""
    defaults = {**InferenceSettings().model_dump(mode="json"), "quantization": "none"}
    return _text({name: value for name, value in settings.items() if value != defaults.get(name)}) or "default settings"


def settings_by_recipe(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """For each recipe the settings in which the ``rows`` differ, or if there are none those that are not the defaults.

    Args:
        rows: ``recipe`` and ``settings`` of each.
    """
    # A recipe without second tries has no setting for them.
    settings = {row["recipe"]: {"second_try": "never", **row["settings"]} for row in rows}
    names = {name for each in settings.values() for name in each}
    differing = {name for name in names if len({repr(each.get(name)) for each in settings.values()}) > 1}
    found = {}
    for row in rows:
        own = {name: settings[row["recipe"]].get(name) for name in sorted(differing)}
        found[row["recipe"]] = _text(own) if own else non_default_settings(row["settings"])
    return found


def _text(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(settings.items()))
