"""A model's card, ``dobby.json``: which prompts the model was trained for, and the calibration of its confidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from dobby_dagster.inference.models.folder_files import is_file, read_json, validated

CARD = "dobby.json"
Name = Annotated[str, Field(max_length=50)]


class _Card(BaseModel):
    """The calibration has a schema of its own, in :mod:`dobby_dagster.inference.scoring.confidence`."""

    model_config = ConfigDict(extra="allow", strict=True)

    description: Annotated[str, Field(max_length=1_000)] = ""
    prompts: Annotated[list[Name], Field(max_length=100)] | None = None
    max_prompt_tokens: Annotated[int, Field(ge=8, le=10_000_000)] | None = None


def read_card(folder: Path) -> dict[str, Any]:
    """The fields of a folder's card; empty where it has none.

    Raises:
        ModelError: The card is malformed.
    """
    file = folder / CARD
    if not is_file(file):
        return {}
    card = read_json(file)
    validated(_Card, card, file)
    return card
