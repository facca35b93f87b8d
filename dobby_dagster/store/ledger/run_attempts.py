"""Which batches were started and are not known to be finished, and which of their runs failed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from dobby_dagster.domain.scope import NO_RUN, BatchId, RecipeId, RunId, Scope
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import ATTEMPT


class RunAttempts:
    """What the retry schedule looks at, so that it avoids a full scan."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note_run(self, recipe: RecipeId, batches: Sequence[BatchId], run: RunId) -> None:
        """Remember that ``run`` starts with ``batches`` now."""
        self._note([[batch, recipe, run, False, time.time()] for batch in batches])

    def note_request(self, recipe: RecipeId, batches: Sequence[BatchId]) -> None:
        """Remember that a run of ``batches`` was requested now."""
        self._note([[batch, recipe, NO_RUN, True, time.time()] for batch in batches])

    def _note(self, rows: list[list[Any]]) -> None:
        if rows:
            self._connection.run(ATTEMPT.put(), {"rows": rows}, write=True)

    def batches(self, relation: str, recipe: RecipeId) -> list[BatchId]:
        """Batches of ``relation`` that a run was requested for or started with, and that are not known to be finished."""
        query = """?[batch] := *dobby_attempt{batch, recipe, run}, recipe == $recipe, *dobby_batch{batch, source},
            source == $source"""
        return sorted(row[0] for row in self._connection.run(query, {"recipe": recipe, "source": relation}).rows)

    def forget(self, recipe: RecipeId, batches: Sequence[BatchId]) -> None:
        """Forget the attempts on batches that are finished."""
        if batches:
            query = "?[batch, recipe, run] := batch in $batches, recipe = $recipe, *dobby_attempt{batch, recipe, run}"
            params = {"batches": list(batches), "recipe": recipe}
            self._connection.run(f"{query} {ATTEMPT.remove}", params, write=True)

    def failed(self, scope: Scope) -> list[float]:
        """When the failed runs of the batch started since its last commit, in order; seconds since the epoch.

        A run that committed anything, of any batch, did not fail by this batch; nor did one that stalled at a single
        record, since that counts as an attempt of the record. Where a run was requested and none has
        started since the last commit, the request counts as one.
        """
        params = {"batch": scope.batch, "recipe": scope.recipe}
        rows = self._connection.run(
            """committed[run] := *dobby_attempt{batch: $batch, recipe: $recipe, run}, *dobby_chunk:by_run{run, chunk}
            committed[run] := *dobby_attempt{batch: $batch, recipe: $recipe, run}, *dobby_stall{run, recipe: $recipe, keys},
                !is_null(maybe_get(keys, 0)), is_null(maybe_get(keys, 1))
            ?[begun_at, requested] := *dobby_attempt{batch: $batch, recipe: $recipe, run, requested, begun_at},
                not committed[run]
            :order begun_at""",
            params,
        ).rows
        commits = self._connection.run(
            "?[max(finished_at)] := *dobby_chunk{batch: $batch, recipe: $recipe, finished_at}", params
        ).rows
        last = max((row[0] for row in commits if row[0] is not None), default=0.0)
        since = [(begun_at, requested) for begun_at, requested in rows if begun_at > last]
        return [begun_at for begun_at, requested in since if not requested] or [begun_at for begun_at, _ in since]
