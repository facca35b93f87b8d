"""What people ask of a database: how far it is, what is stored, how each batch went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dobby_dagster.domain.states import State
from dobby_dagster.store.chunks import CHUNK_KEYS, CHUNK_VALUES, SUMMARY_KEYS, SUMMARY_VALUES
from dobby_dagster.store.connection import Connection
from dobby_dagster.store.script import put

_NOW = "*dobby_version{source: $source, key, content_hash, deleted @ 'END'}"


@dataclass(frozen=True, slots=True)
class Rates:
    """What a model has taken here so far: means over all summaries that it inferred.

    Attributes:
        summaries: How many those are.
        output_tokens: Of one summary.
        seconds: Of inference and commit, for one summary.
    """

    summaries: int
    output_tokens: float
    seconds: float


class Reports:
    """Reading what was stored; nothing here changes a record."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def status(self, relation: str, recipe: str | None) -> dict[str, int]:
        """Counts of the source's records by state under ``recipe``, of batches, and of all stored summaries.

        Every record that was ever seen is in exactly one state. One that is deleted counts as skipped, one that
        no batch or no run has reached as pending.
        """
        params = {"source": relation, "recipe": recipe or ""}
        with self._connection.session():
            totals = self._connection.run(f"?[deleted, count(key)] := {_NOW}", params).rows
            states = self._connection.run(
                f"""now[key, content_hash] := {_NOW}, deleted == false
                ?[state, count(key)] := now[key, content_hash],
                    *dobby_state{{source: $source, key, content_hash, recipe: $recipe, state @ 'END'}}""",
                params,
            ).rows
            batches = self._connection.run("?[count(batch)] := *dobby_batch{batch, source: $source}", params).rows
            summaries = self._connection.run(
                "?[count(fingerprint)] := *dobby_summary{source: $source, key, fingerprint}", params
            ).rows
        by_deleted = {row[0]: row[1] for row in totals}
        found = dict.fromkeys((state.value for state in State), 0) | {row[0]: row[1] for row in states}
        records = sum(by_deleted.values())
        found[State.SKIPPED] += by_deleted.get(True, 0)
        found[State.PENDING] += records - sum(found.values())
        return {"records": records, "batches": batches[0][0], **found, "summaries": summaries[0][0]}

    def entries(self, relation: str, recipe: str | None, page: int = 500) -> Iterator[dict[str, Any]]:
        """Every record that is not deleted, in key order: its key, state, reason or error, and its summary if it has one.

        Read page by page; the database is let go in between.
        """
        after = ""
        while True:
            rows = self._connection.run(
                f"?[key, content_hash, deleted] := {_NOW}, key > $after :limit {int(page)}",
                {"source": relation, "after": after},
            ).rows
            if after == "":
                first = self._connection.run(
                    f"?[key, content_hash, deleted] := key = '', {_NOW}", {"source": relation}
                ).rows
                rows = [*first, *rows]
            if not rows:
                return
            present = [(key, content_hash) for key, content_hash, deleted in rows if not deleted]
            yield from self._describe(relation, recipe, present)
            after = rows[-1][0] or after
            if len(rows) < page:
                return

    def _describe(self, relation: str, recipe: str | None, present: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        params = {"rows": present, "source": relation, "recipe": recipe or ""}
        wanted = "r in $rows, key = get(r, 0), content_hash = get(r, 1)"
        states = self._connection.run(
            f"""?[key, state, error, error_code, reason, batch] := {wanted}, *dobby_state{{source: $source, key, content_hash,
                recipe: $recipe, state, error, error_code, reason, batch @ 'END'}}""",
            params,
        )
        summaries = self._connection.run(
            f"""?[key, summary, confidence, model, prompt, fingerprint, truncated, finish_reason, prompt_tokens,
                output_tokens, mean_logprob, min_logprob, created_at] := {wanted},
                *dobby_summary{{source: $source, key, fingerprint, content_hash, recipe: $recipe, text: summary, confidence,
                model, prompt, truncated, finish_reason, prompt_tokens, output_tokens, mean_logprob, min_logprob, created_at}}""",
            params,
        )
        by_key: dict[str, dict[str, Any]] = {row["key"]: row for row in states.dicts()}
        texts = {row["key"]: row for row in summaries.dicts()}
        blank = dict.fromkeys(summaries.headers[1:])
        for key, _ in present:
            state = by_key.get(key, {"state": "pending", "error": "", "error_code": "", "reason": "", "batch": ""})
            yield {**state, **(texts.get(key) or blank), "key": key}

    def summaries_of(self, relation: str, key: str) -> list[dict[str, Any]]:
        """All summaries of one record, of every model and prompt, newest first."""
        columns = ", ".join([*SUMMARY_KEYS, *SUMMARY_VALUES])
        query = f"?[{columns}] := source = $source, key = $key, *dobby_summary{{{columns}}} :order -created_at"
        return list(self._connection.run(query, {"source": relation, "key": key}).dicts())

    def batch_summaries(self, batch: str, recipe: str) -> list[dict[str, Any]]:
        """The stored summaries of the members of ``batch`` under ``recipe``."""
        columns = [c for c in (*SUMMARY_KEYS, *SUMMARY_VALUES) if c not in ("batch", "recipe")]
        return self._of_batch(batch, recipe, columns)

    def batch_outputs(self, batch: str, recipe: str) -> list[dict[str, Any]]:
        """Of the same summaries: key, confidence, prompt_tokens, output_tokens."""
        return self._of_batch(batch, recipe, ["key", "confidence", "prompt_tokens", "output_tokens"])

    def _of_batch(self, batch: str, recipe: str, columns: list[str]) -> list[dict[str, Any]]:
        # Joined by source and key, which the summaries are ordered by: joined by content and recipe as well, all
        # summaries there are would be read for each batch.
        of_summary = ", ".join(sorted({"source", "key", *columns} - {"content_hash"}))
        query = f"""?[{", ".join(columns)}] := *dobby_member{{batch: $batch, source, key, content_hash}},
            *dobby_summary{{{of_summary}, content_hash: summarized, recipe}},
            summarized == content_hash, recipe == $recipe"""
        return list(self._connection.run(query, {"batch": batch, "recipe": recipe}).dicts())

    def batch_errors(self, batch: str, recipe: str) -> list[dict[str, Any]]:
        """Failed and skipped members of ``batch``: key, state, error, reason, retry_count."""
        query = """?[key, state, error, reason, retry_count, since] := *dobby_member{batch: $batch, source, key, content_hash},
            *dobby_state{source, key, content_hash, recipe: $recipe, state, error, reason, retry_count, since @ 'END'},
            is_in(state, ['failed', 'skipped']) :order since"""
        return list(self._connection.run(query, {"batch": batch, "recipe": recipe}).dicts())

    def chunks(self, batch: str, recipe: str) -> list[dict[str, Any]]:
        """The statistics of every chunk of ``batch`` under ``recipe``, oldest first."""
        columns = ", ".join([*CHUNK_KEYS, *CHUNK_VALUES])
        query = f"?[{columns}] := *dobby_chunk{{{columns}}}, batch = $batch, recipe = $recipe :order started_at"
        return list(self._connection.run(query, {"batch": batch, "recipe": recipe}).dicts())

    def save_metrics(self, batch: str, recipe: str, values: dict[str, Any]) -> None:
        """Store the metrics of a batch under a recipe."""
        rows = [[batch, recipe, time.time(), values]]
        self._connection.run(
            put("dobby_metric", ["batch", "recipe"], ["stored_at", "values"]), {"rows": rows}, write=True
        )

    def metrics(self, batch: str | None = None) -> list[dict[str, Any]]:
        """Stored metrics, of one batch or of all: batch, recipe, stored_at, values."""
        rows = self._connection.run(
            "?[batch, recipe, stored_at, values] := *dobby_metric{batch, recipe, stored_at, values}"
        ).dicts()
        return [row for row in rows if batch in (None, row["batch"])]

    def recipes(self, relation: str) -> list[dict[str, Any]]:
        """Every recipe that was used, the last used first, with how many summaries of ``relation`` it has."""
        counts = dict(
            self._connection.run(
                "?[recipe, count(fingerprint)] := *dobby_summary{source: $source, key, fingerprint, recipe}",
                {"source": relation},
            ).rows
        )
        rows = self._connection.run(
            "?[recipe, prompt, model, used_at] := *dobby_recipe{recipe, prompt, model, used_at} :order -used_at"
        ).dicts()
        return [row | {"summaries": counts.get(row["recipe"], 0)} for row in rows]

    def rates(self, model_revision: str) -> Rates:
        """How fast the model was, under whatever prompt."""
        params = {"revision": model_revision}
        chunks = self._connection.run(
            """?[sum(inferred), sum(seconds)] := *dobby_recipe{recipe, model_revision}, model_revision == $revision,
            *dobby_chunk{batch, recipe, chunk, inferred, started_at, finished_at}, seconds = finished_at - started_at""",
            params,
        ).rows
        tokens = self._connection.run(
            """?[count(fingerprint), mean(output_tokens)] := *dobby_recipe{recipe, model_revision},
            model_revision == $revision, *dobby_summary{source, key, fingerprint, output_tokens, recipe}""",
            params,
        ).rows
        inferred, seconds = chunks[0] if chunks else (0, 0.0)
        count, mean = tokens[0] if tokens else (0, 0.0)
        return Rates(int(count or 0), float(mean or 0.0), float(seconds or 0.0) / inferred if inferred else 0.0)
