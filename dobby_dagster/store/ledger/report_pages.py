"""What a report is made of, read page by page, so that neither memory nor the time without other users grows with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dobby_dagster.domain.scope import BatchId, RecipeId, RunId
from dobby_dagster.store.cozoscript.storable import storable_text
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import METRIC

_KNOWN = "*dobby_version{source: $source, key, content_hash, deleted @ 'END'}"
_STATE = "state, error, error_code, retry, retry_count, reason, run, since"
_SUMMARY = "confidence, finish_reason, prompt_tokens, output_tokens, truncated, inference_seconds"
_CHUNK = (
    "run, started_at, finished_at, completed, inferred, failed, skipped, latencies, rss_bytes, cpu_share, slots,"
    " slots_in_use, prompt_tokens, output_tokens"
)
_Item = TypeVar("_Item")
_PAGE = 2_000
_BATCHES = 50


@dataclass(frozen=True, slots=True)
class Extent:
    """What a report covers: a source under a recipe, all of it, or one batch or one run.

    >>> Extent("record", RecipeId("8c1f"), batch=BatchId("batch-000042")).run is None
    True
    """

    relation: str
    recipe: RecipeId
    batch: BatchId | None = None
    run: RunId | None = None


class ReportPages:
    """Reading what was stored for a report; the database is closed between two pages."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def runs(self, beginning: str) -> list[RunId]:
        """Runs that committed something and whose identifier begins with ``beginning``, at most ten."""
        query = "?[run] := *dobby_chunk:by_run{run}, starts_with(run, $beginning) :limit 10"
        return [RunId(row[0]) for row in self._connection.run(query, {"beginning": storable_text(beginning)}).rows]

    def batches(self, extent: Extent) -> list[BatchId]:
        """The batches that ``extent`` covers, in order."""
        params = {"source": extent.relation, "recipe": extent.recipe, "batch": extent.batch, "run": extent.run}
        atoms = ["*dobby_batch{batch, source: $source}"]
        if extent.batch is not None:
            atoms.append("batch == $batch")
        if extent.run is not None:
            atoms.append("*dobby_chunk:by_run{run: $run, batch, recipe: $recipe}")
        return sorted(BatchId(row[0]) for row in self._connection.run(f"?[batch] := {', '.join(atoms)}", params).rows)

    def chunks(self, extent: Extent) -> Iterator[list[dict[str, Any]]]:
        """Statistics of the chunks that ``extent`` covers, without their names, in no order."""
        only = "" if extent.run is None else ", run == $run"
        query = f"""?[batch, chunk, {_CHUNK}] := batch in $batches, recipe = $recipe,
            *dobby_chunk{{batch, recipe, chunk, {_CHUNK}}}{only}"""
        for batches in _parts(self.batches(extent), _BATCHES):
            params = {"batches": batches, "recipe": extent.recipe, "run": extent.run}
            yield list(self._connection.run(query, params).dicts())

    def metrics(self, extent: Extent) -> Iterator[list[dict[str, Any]]]:
        """Stored metrics of the batches that ``extent`` covers: batch, recipe, values."""
        query = f"?[batch, recipe, values] := batch in $batches, recipe = $recipe, {METRIC.stored}"
        for batches in _parts(self.batches(extent), _BATCHES):
            yield list(self._connection.run(query, {"batches": batches, "recipe": extent.recipe}).dicts())

    def records(self, extent: Extent) -> Iterator[list[dict[str, Any]]]:
        """The record versions that ``extent`` covers, as they are now.

        All of a source: each record that is planned and not deleted, in its present version. A batch: its members. A
        run: the members of its batches whose present state is from this run.

        Returns:
            Pages of rows: key, content_hash, state (``pending`` where there is none), error, error_code, retry,
            retry_count, reason, run, since, and of the summary fingerprint, confidence, finish_reason, prompt_tokens,
            output_tokens, truncated, inference_seconds; these are None where there is no summary.
        """
        for versions in self._versions(extent):
            rows = self._described(extent, versions)
            yield rows if extent.run is None else [row for row in rows if row["run"] == extent.run]

    def texts(self, relation: str, fingerprints: dict[str, str]) -> dict[str, str]:
        """The texts of summaries, by key; ``fingerprints`` are by key too."""
        query = """?[key, text] := r in $rows, key = get(r, 0), fingerprint = get(r, 1),
            *dobby_summary{source: $source, key, fingerprint, text}"""
        rows = [[key, fingerprint] for key, fingerprint in fingerprints.items()]
        return dict(self._connection.run(query, {"rows": rows, "source": relation}).rows) if rows else {}

    def _versions(self, extent: Extent) -> Iterator[list[list[str]]]:
        """Keys and content hashes, page by page."""
        if extent.batch is None and extent.run is None:
            yield from self._present(extent.relation)
            return
        query = "?[key, content_hash] := batch in $batches, *dobby_member{batch, position, key, content_hash}"
        for batch in self.batches(extent):
            rows = self._connection.run(query, {"batches": [batch]}).rows
            yield from _parts(rows, _PAGE)

    def _present(self, relation: str) -> Iterator[list[list[str]]]:
        after, condition = "", "key >= $after"
        while True:
            rows = self._connection.run(
                f"?[key, content_hash, deleted] := {_KNOWN}, {condition} :limit {_PAGE}",
                {"source": relation, "after": after},
            ).rows
            yield [[key, content_hash] for key, content_hash, deleted in rows if not deleted]
            if len(rows) < _PAGE:
                return
            after, condition = rows[-1][0], "key > $after"

    def _described(self, extent: Extent, versions: list[list[str]]) -> list[dict[str, Any]]:
        params = {"rows": versions, "source": extent.relation, "recipe": extent.recipe}
        wanted = "r in $rows, key = get(r, 0), content_hash = get(r, 1)"
        with self._connection.session():
            states = self._connection.run(
                f"""?[key, content_hash, {_STATE}] := {wanted},
                *dobby_state{{source: $source, key, content_hash, recipe: $recipe, {_STATE} @ 'END'}}""",
                params,
            )
            # Joined by source and key, the order of the summaries; by content and recipe as well would read all of them.
            summaries = self._connection.run(
                f"""?[key, content_hash, fingerprint, {_SUMMARY}] := {wanted}, source = $source,
                *dobby_summary{{source, key, fingerprint, content_hash: summarized, recipe, {_SUMMARY}}},
                recipe == $recipe, summarized == content_hash""",
                params,
            )
        nothing = dict.fromkeys([*states.headers, *summaries.headers]) | {"state": "pending", "run": ""}
        rows = {
            (key, content_hash): {**nothing, "key": key, "content_hash": content_hash} for key, content_hash in versions
        }
        for row in (*states.dicts(), *summaries.dicts()):
            rows[row["key"], row["content_hash"]] |= row
        return list(rows.values())


def _parts(items: Sequence[_Item], size: int) -> Iterator[list[_Item]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))
