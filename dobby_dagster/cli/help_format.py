"""The help shows no value type for a switch, which takes no value."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose switches are shown without a type."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See :meth:`click.Command.get_params`."""
        return _without_types(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands whose switches are shown without a type."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See :meth:`click.Command.get_params`."""
        return _without_types(super().get_params(ctx))


def _without_types(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return parameters
