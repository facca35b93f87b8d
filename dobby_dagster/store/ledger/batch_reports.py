"""Reports on one batch: its summaries, errors, chunks and metrics."""

from __future__ import annotations

import time
from typing import Any

from dobby_dagster.domain.scope import BatchId, RecipeId, Scope
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import CHUNK, METRIC, SUMMARY

# Batch and recipe are the reader's own.
SUMMARY_COLUMNS = [column for column in SUMMARY.columns if column not in ("batch", "recipe")]


class BatchReports:
    """What was stored of each batch under a recipe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def summaries(self, scope: Scope) -> list[dict[str, Any]]:
        """The stored summaries of the members of the batch under the recipe."""
        return self._of_batch(scope, SUMMARY_COLUMNS)

    def outputs(self, scope: Scope) -> list[dict[str, Any]]:
        """Figures of those summaries: key, confidence, prompt_tokens, output_tokens (None: unknown), finish_reason, truncated."""
        columns = ["key", "confidence", "prompt_tokens", "output_tokens", "finish_reason", "truncated"]
        return self._of_batch(scope, columns)

    def _of_batch(self, scope: Scope, columns: list[str]) -> list[dict[str, Any]]:
        # Joined by source and key, the order of the summaries: a join by content and recipe as well would read all
        # summaries for each batch.
        of_summary = ", ".join(sorted({"source", "key", *columns} - {"content_hash"}))
        query = f"""?[{", ".join(columns)}] := *dobby_member{{batch: $batch, source, key, content_hash}},
            *dobby_summary{{{of_summary}, content_hash: summarized, recipe}},
            summarized == content_hash, recipe == $recipe"""
        return list(self._connection.run(query, _parameters(scope)).dicts())

    def errors(self, scope: Scope) -> list[dict[str, Any]]:
        """Failed members of the batch, the oldest failure first: key, error, retry_count, since."""
        query = """?[key, error, retry_count, since] := *dobby_member{batch: $batch, source, key, content_hash},
            *dobby_state{source, key, content_hash, recipe: $recipe, state, error, retry_count, since @ 'END'},
            state == 'failed' :order since"""
        return list(self._connection.run(query, _parameters(scope)).dicts())

    def chunks(self, scope: Scope) -> list[dict[str, Any]]:
        """The statistics of every chunk of the batch under the recipe, oldest first."""
        query = f"{CHUNK.head} := {CHUNK.stored}, batch = $batch, recipe = $recipe :order started_at"
        return list(self._connection.run(query, _parameters(scope)).dicts())

    def first_batches(self, relation: str, recipe: RecipeId, limit: int) -> list[BatchId]:
        """The batches of ``relation`` that were processed first under ``recipe``, in this order."""
        query = f"""began[batch, min(started_at)] := *dobby_chunk{{batch, recipe, started_at}}, recipe == $recipe,
            *dobby_batch{{batch, source}}, source == $source
        ?[batch, at] := began[batch, at] :order at, batch :limit {int(limit)}"""
        rows = self._connection.run(query, {"recipe": recipe, "source": relation}).rows
        return [BatchId(row[0]) for row in rows]

    def save_metrics(self, scope: Scope, values: dict[str, Any]) -> None:
        """Store the metrics of the batch under the recipe."""
        rows = [[scope.batch, scope.recipe, time.time(), values]]
        self._connection.run(METRIC.put(), {"rows": rows}, write=True)

    def measured(self, recipe: RecipeId) -> set[BatchId]:
        """The batches that have metrics under ``recipe``."""
        rows = self._connection.run(
            "?[batch] := *dobby_metric{batch, recipe}, recipe == $recipe", {"recipe": recipe}
        ).rows
        return {row[0] for row in rows}

    def metrics(self, batch: str | None = None) -> list[dict[str, Any]]:
        """Stored metrics, of one batch or of all: batch, recipe, stored_at, values."""
        only = "" if batch is None else "batch = $batch, "
        query = f"{METRIC.head} := {only}{METRIC.stored}"
        return list(self._connection.run(query, {"batch": batch} if batch else {}).dicts())


def _parameters(scope: Scope) -> dict[str, str]:
    return {"batch": scope.batch, "recipe": scope.recipe}
