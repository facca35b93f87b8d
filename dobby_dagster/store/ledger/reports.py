"""Read-only reports on a source: progress, records and their summaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dobby_dagster.domain.records import Record, content_hash
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.states import State
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.recipes import Recipes
from dobby_dagster.store.ledger.record_counts import RecordCounts
from dobby_dagster.store.ledger.relations import SUMMARY
from dobby_dagster.store.source.source_relation import Source

_NOW = "*dobby_version{source: $source, key, content_hash, deleted @ 'END'}"
_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class Rates:
    """The cost of one summary by a model: means over all summaries that it inferred here.

    Attributes:
        summaries: How many those are.
        output_tokens: Of one summary.
        seconds: Of inference, for one summary; commits are not included.
    """

    summaries: int
    output_tokens: float
    seconds: float


class Reports:
    """Reading what was stored; nothing here changes a record."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._record_counts = RecordCounts(connection)

    def status(self, relation: str, recipe: RecipeId | None) -> dict[str, int]:
        """Counts of what Dobby knows of a source: records by state under ``recipe``, batches, stored summaries.

        Returns:
            ``records`` that are planned and not deleted, one count for each state (each record is in exactly one; it is
            pending where no run has reached it), ``deleted`` records, ``batches``, and ``summaries``, former ones too.
        """
        moment = self._record_counts.now()
        return self._by_state(relation, recipe, moment, self._record_counts.key_pages(relation, _PAGE), set())

    def overview(self, source: Source, recipe: RecipeId | None) -> dict[str, int]:
        """The rows of the source as they are now, and their progress under ``recipe``.

        Only keys are read; an edit that no plan has looked at yet is not seen.

        Returns:
            The counts of :meth:`status`, where a record without a row counts as deleted even before a plan has noticed; and ``rows`` of the source, and ``unplanned``, those among them that no plan has seen.
            ``rows`` = ``unplanned`` + the counts of all states.
        """
        relation, moment = source.settings.relation, self._record_counts.now()
        pages: list[list[str]] = []
        known: set[str] = set()
        for page in self._record_counts.known_pages(relation, _PAGE, moment):
            pages.append([key for key, _ in page])
            known.update(key for key, deleted in page if not deleted)
        present: set[str] = set()
        for keys in source.key_pages(_PAGE):
            present.update(keys)
        counts = self._by_state(relation, recipe, moment, pages, known - present)
        return {"rows": len(present), "unplanned": len(present - known), **counts}

    def _by_state(
        self, relation: str, recipe: RecipeId | None, moment: int, pages: Iterable[list[str]], gone: set[str]
    ) -> dict[str, int]:
        """The counts at one moment, by pages of all known keys; records in ``gone`` count as deleted."""
        ever, after = 0, ""
        states: Counter[str] = Counter()
        for keys in pages:
            ever += len(keys)
            kept = [key for key in keys if key not in gone]
            if len(kept) == len(keys) and keys[0] != "":
                states += self._record_counts.by_state_between(relation, recipe, after, keys[-1], moment, max_retries=0)
            else:
                states += self._record_counts.by_state(relation, recipe, kept, moment, max_retries=0)
            after = keys[-1]
        params = {"source": relation}
        batches = self._count("?[count(batch)] := *dobby_batch{batch, source: $source}", params)
        summaries = self._count("?[count(key)] := *dobby_summary{source: $source, key, fingerprint}", params)
        counts = {state.value: states[state] for state in State}
        records = sum(counts.values())
        return {"records": records, "batches": batches, **counts, "deleted": ever - records, "summaries": summaries}

    def _count(self, query: str, params: dict[str, Any]) -> int:
        return int(self._connection.run(query, params).rows[0][0])

    def entries(self, relation: str, recipe: RecipeId | None, page: int = 500) -> Iterator[dict[str, Any]]:
        """Every record that is not deleted, in key order: its key, state, reason or error, and its summary if it has one.

        Read page by page; the database is closed in between.
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
            yield from self.describe(relation, recipe, present)
            after = rows[-1][0] or after
            if len(rows) < page:
                return

    def describe(
        self, relation: str, recipe: RecipeId | None, present: list[tuple[str, str]]
    ) -> Iterator[dict[str, Any]]:
        """State and summary, as in :meth:`entries`, of the records at these keys with contents of these hashes."""
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
                *dobby_summary{{source: $source, key, fingerprint, content_hash: summarized, recipe, text: summary, confidence,
                model, prompt, truncated, finish_reason, prompt_tokens, output_tokens, mean_logprob, min_logprob, created_at}},
                summarized == content_hash, recipe == $recipe""",
            params,
        )
        by_key: dict[str, dict[str, Any]] = {row["key"]: row for row in states.dicts()}
        texts = {row["key"]: row for row in summaries.dicts()}
        blank = dict.fromkeys(summaries.headers[1:])
        for key, _ in present:
            state = by_key.get(key, {"state": "pending", "error": "", "error_code": "", "reason": "", "batch": ""})
            yield {**state, **(texts.get(key) or blank), "key": key}

    def rows(
        self, source: Source, recipe: RecipeId | None, page: int = 500, prefix: str = ""
    ) -> Iterator[dict[str, Any]]:
        """Every row of the source whose key begins with ``prefix``, in key order, with its current content.

        Other than :meth:`entries`, which tells what is planned, this reads the source: a row that no plan has seen is
        there, as pending; one that was edited since has the state and the summary of its present content; one that is
        gone is not there.

        Returns:
            The fields of :meth:`entries`, and ``content_type``, ``language``, ``priority``, ``size`` (bytes),
            ``metadata`` (the columns that ``source.metadata`` names, or those of Dobby's own relation) and ``content``.
        """
        for records in source.pages(page, prefix):
            yield from self._described(source, recipe, records)

    def rows_at(self, source: Source, recipe: RecipeId | None, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of the source at ``keys``, as :meth:`rows` has them, in the order of ``keys``; some may be gone."""
        found = source.get(list(keys)) if keys else {}
        return list(self._described(source, recipe, [found[key] for key in keys if key in found]))

    def _described(
        self, source: Source, recipe: RecipeId | None, records: Sequence[Record]
    ) -> Iterator[dict[str, Any]]:
        present = [(record.key, content_hash(record.content)) for record in records]
        entries = self.describe(source.settings.relation, recipe, present)
        for record, entry in zip(records, entries, strict=True):
            yield {
                **entry,
                "content_type": record.content_type,
                "language": record.language,
                "priority": record.priority,
                "size": record.size,
                "metadata": dict(record.metadata),
                "content": record.content,
            }

    def keys_below(self, relation: str, recipe: RecipeId | None, confidence: float) -> set[str]:
        """The keys of records with a summary, of a former content too, of a known confidence under ``confidence``."""
        query = f"""?[key] := *{SUMMARY.name}{{source: $source, key, recipe: by, confidence: known}}, by == $recipe,
            if(is_num(known), known < $confidence, false)"""
        params = {"source": relation, "recipe": recipe or "", "confidence": confidence}
        return {row[0] for row in self._connection.run(query, params).rows}

    def state_of(self, relation: str, key: str, recipe: RecipeId | None) -> dict[str, Any] | None:
        """The current state of one record; None if no plan has ever seen it.

        Returns:
            ``key``, ``content_hash``, ``state`` (that of its present version under ``recipe``, or ``deleted``),
            ``error``, ``error_code``, ``reason``, ``batch``, and its current summary as in :meth:`entries`.
        """
        params = {"source": relation, "key": key}
        rows = self._connection.run(f"?[content_hash, deleted] := key = $key, {_NOW}", params).rows
        if not rows:
            return None
        found_hash, deleted = rows[0]
        [entry] = self.describe(relation, recipe, [(key, found_hash)])
        if deleted:
            entry = dict.fromkeys(entry) | {"key": key, "error": "", "error_code": "", "reason": "", "batch": ""}
            entry["state"] = "deleted"
        return {**entry, "content_hash": found_hash}

    def summaries_of(self, relation: str, key: str, recipe: RecipeId | None = None) -> list[dict[str, Any]]:
        """All summaries of one record, of every model and prompt: the current one first, then the newest.

        Args:
            relation: The source.
            key: The record's.
            recipe: Under which a summary can be current; where None, the one that was used last.

        Returns:
            The summary's columns, and ``former``: empty of the one current summary, else why it is not current:
            ``deleted`` (the record is), ``content`` (it was of another content) or ``recipe`` (of another model, prompt
            or setting).
        """
        current = recipe or Recipes(self._connection).latest() or ""
        params = {"source": relation, "key": key, "recipe": current}
        columns = ", ".join(SUMMARY.columns)
        query = f"""present[content_hash, deleted] := key = $key, {_NOW}
        ?[{columns}, former] := source = $source, key = $key, {SUMMARY.stored}, present[now, deleted],
            former = if(deleted, 'deleted', if(content_hash != now, 'content', if(recipe != $recipe, 'recipe', '')))
        :order -created_at"""
        rows = list(self._connection.run(query, params).dicts())
        return sorted(rows, key=lambda row: row["former"] != "")

    def summarized(self, relation: str, recipe: RecipeId | None, keys: Sequence[str]) -> set[str]:
        """Those of ``keys`` that have a summary under ``recipe``, be it of a former content."""
        query = "?[key] := key in $keys, *dobby_summary{source: $source, key, fingerprint, recipe}, recipe == $recipe"
        params = {"source": relation, "recipe": recipe or "", "keys": list(keys)}
        return {row[0] for row in self._connection.run(query, params).rows}

    def latest(self, relation: str, recipe: RecipeId | None, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The newest summary under ``recipe`` of each of ``keys`` that has one, be it of a former content.

        Returns:
            By key: ``summary``, ``confidence`` (None: unknown), ``model``, ``prompt``, ``truncated``, ``finish_reason``
            and ``created_at``.
        """
        columns = "confidence, model, prompt, truncated, finish_reason, created_at"
        query = f"""?[key, summary, {columns}] := key in $keys,
            *dobby_summary{{source: $source, key, fingerprint, recipe, text: summary, {columns}}}, recipe == $recipe
        :order created_at"""
        params = {"source": relation, "recipe": recipe or "", "keys": list(keys)}
        return {row["key"]: row for row in self._connection.run(query, params).dicts()}

    def outputs(self, relation: str, recipe: RecipeId) -> Iterator[dict[str, Any]]:
        """Of every current summary under ``recipe``: key, content_hash, confidence (None: unknown), finish_reason, truncated.

        Texts are not read. A summary is current where its record is not deleted and has that content now. Read page by
        page; the database is closed in between.
        """
        query = f"""now[key, content_hash] := key in $keys, {_NOW}, deleted == false
        ?[key, content_hash, confidence, finish_reason, truncated] := now[key, content_hash],
            *dobby_summary{{source: $source, key, content_hash: summarized, recipe, confidence, finish_reason, truncated}},
            summarized == content_hash, recipe == $recipe"""
        for keys in self._record_counts.key_pages(relation, _PAGE):
            yield from self._connection.run(query, {"source": relation, "recipe": recipe, "keys": keys}).dicts()

    def rates(self, model_revision: str) -> Rates:
        """How fast the model was, over all prompts."""
        params = {"revision": model_revision}
        chunks = self._connection.run(
            """?[sum(inferred), sum(seconds)] := *dobby_recipe{recipe, model_revision}, model_revision == $revision,
            *dobby_chunk{batch, recipe, chunk, inferred, started_at, finished_at}, seconds = finished_at - started_at""",
            params,
        ).rows
        tokens = self._connection.run(
            """?[count(fingerprint), mean(output_tokens)] := *dobby_recipe{recipe, model_revision},
            model_revision == $revision, *dobby_summary{source, key, fingerprint, output_tokens, recipe},
            is_num(output_tokens)""",
            params,
        ).rows
        inferred, seconds = chunks[0] if chunks else (0, 0.0)
        count, mean = tokens[0] if tokens else (0, 0.0)
        return Rates(int(count or 0), float(mean or 0.0), float(seconds or 0.0) / inferred if inferred else 0.0)
