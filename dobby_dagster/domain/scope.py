"""Identifiers as types, so that the type checker sees where two of them are swapped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

RecipeId = NewType("RecipeId", str)
BatchId = NewType("BatchId", str)
RunId = NewType("RunId", str)
OwnerId = NewType("OwnerId", str)

NO_RUN = RunId("")
# Under which nothing was ever made.
NO_RECIPE = RecipeId("")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a state belongs: a batch under a recipe, and the run that writes there.

    Attributes:
        recipe: The model, prompt and settings in use, see :class:`dobby_dagster.domain.summaries.Recipe`.
        batch: The batch.
        run: The Dagster run; empty where nothing is written, or where a person acts outside of any run.

    >>> Scope(RecipeId("8c1f"), BatchId("batch-000042"))
    Scope(recipe='8c1f', batch='batch-000042', run='')
    """

    recipe: RecipeId
    batch: BatchId
    run: RunId = NO_RUN
