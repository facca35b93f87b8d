"""The arguments of a call: checked, and wrong ones named in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dobby_dagster.agent_server import cursor as cursors
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.printable import shortened
from dobby_dagster.domain.suggest import suggestion
from dobby_dagster.store.cozoscript.storable import storable_text

_SHOWN = 80
# Text that can be a parameter of a query.
Text = Annotated[str, AfterValidator(storable_text)]
Key = Annotated[Text, Field(min_length=1, max_length=1_000)]


class Arguments(BaseModel):
    """What all tools have in common: unknown arguments are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# Grows when a tool writes another form of position into its cursors.
_FORM = 2


class PagedArguments(Arguments):
    """Of a tool whose answer may have more than one page."""

    limit: int = Field(50, ge=1, le=200, description="Entries of an answer, at most.")
    cursor: Text = Field("", max_length=cursors.CURSOR_LENGTH, description="The `next` of the answer before.")

    def query(self) -> str:
        """What a cursor belongs to: the tool and all arguments that decide which entries there are.

        And the form of its position: a cursor of an earlier version of Dobby is not taken for one of this.
        """
        named = self.model_dump(mode="json", exclude={"limit", "cursor"})
        return f"{type(self).__name__} {_FORM} {json.dumps(named, sort_keys=True)}"

    def position(self) -> str | None:
        """The position in the cursor; None without one.

        Raises:
            SettingsError: The cursor is of another query.
        """
        return cursors.decode(self.query(), self.cursor) if self.cursor else None


_Arguments = TypeVar("_Arguments", bound=Arguments)


def parsed(model: type[_Arguments], given: Mapping[str, Any]) -> _Arguments:
    """The arguments ``given``, as ``model``.

    Raises:
        SettingsError: One is missing, unknown, of the wrong type or out of range; names it and its value.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise SettingsError("; ".join(_problem(model, each) for each in error.errors()[:3])) from None


def _problem(model: type[Arguments], problem: Any) -> str:
    name = shortened(".".join(str(part) for part in problem["loc"]), _SHOWN)
    if problem["type"] == "extra_forbidden":
        return f"unknown argument '{name}' ({suggestion(name, model.model_fields)})"
    if problem["type"] == "missing":
        return f"the argument '{name}' is missing"
    message = (
        problem["msg"].removeprefix("Value error, ").replace("Input should ", "must ").replace("String should", "must")
    )
    return f"{name} = {shortened(repr(problem['input']), _SHOWN)} is invalid: {message}"
