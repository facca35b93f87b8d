"""Deleting: superseded history, everything of former recipes, summaries that are redone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dobby_dagster.domain.scope import BatchId, RecipeId
from dobby_dagster.store.cozoscript.relation import Relation
from dobby_dagster.store.cozoscript.script import TICK, script, unpack
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import (
    ATTEMPT,
    CHANGE,
    CHUNK,
    DEVICE_WAIT,
    DOCUMENT,
    METRIC,
    RECIPE,
    STALL,
    STATE,
    SUMMARY,
    SUSPECT,
    UNINDEXED,
    VECTOR,
    VECTOR_BATCH,
    VERSION,
    transition,
)

PAGE = 1_000
# What is kept under a recipe beside records' states and summaries. The recipe itself is last: as long as it is there, a
# purge can be run again.
_BY_RECIPE = (CHUNK, METRIC, ATTEMPT, STALL, SUSPECT, VECTOR, VECTOR_BATCH, RECIPE)

# Deleted states are not changes: counts that rest on changes have to begin again, at a moment that nothing else has.
_FORGET_CHANGES = (
    TICK,
    f"{{ ?[at, source] := *dobby_change{{at, source}} {CHANGE.remove} }}",
    f"{{ {CHANGE.head} := *dobby_clock{{name: 'clock', at}}, source = '', keys = [] {CHANGE.into} }}",
)


class Upkeep:
    """Deleting, page by page; each page is one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def compact(self, before: float) -> int:
        """Drop states and versions that were superseded before ``before``, in seconds since the epoch; how many.

        How long runs waited for the device before that time is forgotten too.

        What was in force at that time stays, and so does everything since.
        """
        self.forget_changes(before)
        old = f"?[run] := *{DEVICE_WAIT.name}{{run, at}}, at < $before {DEVICE_WAIT.remove}"
        self._connection.run(old, {"before": before}, write=True)
        return sum(
            self._compact(history, source, page, int(before * 1e6))
            for source, page in self._keys()
            for history in (STATE, VERSION)
        )

    def forget_changes(self, before: float) -> None:
        """Forget what was noted as changed before ``before``, in seconds since the epoch, all but the last change.

        Counts that rest on a change that is gone begin again.
        """
        query = """newest[max(at)] := *dobby_change{at}
        ?[at, source] := *dobby_change{at, source}, at < $before, newest[end], at < end"""
        self._connection.run(f"{query} {CHANGE.remove}", {"before": int(before * 1e6)}, write=True)

    def summaries_by_recipe(self) -> dict[RecipeId, int]:
        """How many summaries each recipe has, of all sources: what :meth:`purge` would delete."""
        rows = self._connection.run("?[recipe, count(key)] := *dobby_summary{source, key, fingerprint, recipe}").rows
        return {RecipeId(recipe): int(count) for recipe, count in rows}

    def _keys(self) -> Iterator[tuple[str, list[str]]]:
        sources = self._connection.run("?[relation] := *dobby_source{relation}").rows
        for (source,) in sources:
            after = ""
            while True:
                rows = self._connection.run(
                    f"?[key] := *dobby_version{{source: $source, key @ 'END'}}, key > $after :limit {PAGE}",
                    {"source": source, "after": after},
                ).rows
                yield source, [row[0] for row in rows] + ([""] if after == "" else [])
                if len(rows) < PAGE:
                    break
                after = rows[-1][0]

    def _compact(self, history: Relation, source: str, page: list[str], before: int) -> int:
        head = ", ".join(history.key[:-1])
        rows = f"r in $page, key = r, source = $source, *{history.name}{{{head}, at}}, t = to_int(at), t < $before"
        params = {"source": source, "page": page, "before": before}
        old = f"""last[{head}, max(t)] := {rows}
        ?[{head}, at] := {rows}, last[{head}, newest], t < newest"""
        found = self._connection.run(old, params).rows
        if found:
            self._connection.run(f"{old} {history.remove}", params, write=True)
        return len(found)

    def purge(self, recipe: RecipeId) -> dict[str, int]:
        """Delete everything that was made under ``recipe``: rows deleted by relation.

        A record's summaries go with its states, in one transaction a page: a purge that dies between pages leaves no
        record completed without a summary, and another one goes on with it.
        """
        deleted = {SUMMARY.name: 0, STATE.name: 0}
        while any(page := self._purge_page(recipe)):
            deleted[SUMMARY.name] += page[0]
            deleted[STATE.name] += page[1]
        for relation in _BY_RECIPE:
            key = ", ".join(relation.key)
            query = f"?[{key}] := *{relation.name}{{{key}}}, recipe == $recipe"
            deleted[relation.name] = len(self._connection.run(query, {"recipe": recipe}).rows)
            if deleted[relation.name]:
                self._connection.run(f"{query} {relation.remove}", {"recipe": recipe}, write=True)
        self._connection.run(script(_FORGET_CHANGES), write=True)
        return deleted

    def _purge_page(self, recipe: RecipeId) -> tuple[int, int]:
        """Delete summaries and states of some records: how many of each, none where none are left."""
        blocks = [
            f"""{{ ?[source, key] := *dobby_state{{source, key, content_hash, recipe}}, recipe == $recipe
            ?[source, key] := *dobby_summary{{source, key, fingerprint, recipe}}, recipe == $recipe
            :limit {PAGE} :create _page {{source, key}} }}""",
            """{ ?[source, key, fingerprint] := *_page{source, key}, *dobby_summary{source, key, fingerprint, recipe},
                recipe == $recipe
            :create _summaries {source, key, fingerprint} }""",
            """{ ?[source, key, content_hash, recipe, at] := *_page{source, key},
                *dobby_state{source, key, content_hash, recipe, at}, recipe == $recipe
            :create _states {source, key, content_hash, recipe, at} }""",
            f"{{ ?[source, key, fingerprint] := *_summaries{{source, key, fingerprint}} {SUMMARY.remove} }}",
            f"""{{ ?[source, key] := *_page{{source, key}}, *{DOCUMENT.name}{{source, key, recipe}}, recipe == $recipe
            :create _documents {{source, key}} }}""",
            f"{{ ?[source, key] := *_documents{{source, key}} {DOCUMENT.remove} }}",
            # What another recipe says of the record was indexed no more since this one's summary.
            f"""{{ ?[source, key] := *_documents{{source, key}}, *{SUMMARY.name}{{source, key, fingerprint}}
            {UNINDEXED.into} }}""",
            f"""{{ ?[source, key, content_hash, recipe, at] := *_states{{source, key, content_hash, recipe, at}}
            {STATE.remove} }}""",
            """{ summaries[count(key)] := *_summaries{key}
            states[count(key)] := *_states{key}
            ?[summaries, states] := summaries[summaries], states[states] }""",
        ]
        summaries, states = self._connection.run(script(blocks), {"recipe": recipe}, write=True).rows[0]
        return int(summaries), int(states)

    def redo(
        self, source: str, recipe: RecipeId, keys: Sequence[str], reason: str = "redo requested"
    ) -> dict[BatchId, int]:
        """Delete the summaries of ``keys`` under ``recipe`` and return the records to pending: records by batch.

        Records of equal contents share a summary, and so are done again with them. The audit trail stays, and has
        ``reason``.
        """
        batches: dict[BatchId, int] = {}
        for begin in range(0, len(keys), PAGE):
            for batch, count in self._redo(source, recipe, list(keys[begin : begin + PAGE]), reason):
                batches[batch] = batches.get(batch, 0) + count
        return dict(sorted(batches.items()))

    def _redo(self, source: str, recipe: RecipeId, keys: list[str], reason: str) -> list[tuple[BatchId, int]]:
        blocks = [
            f"""{{ ?[fingerprint] := {unpack(["key"])}, *dobby_summary{{source: $source, key, fingerprint, recipe}},
                recipe == $recipe
            :create _chosen {{fingerprint}} }}""",
            """{ ?[source, key, fingerprint, content_hash] := *_chosen{fingerprint},
                *dobby_summary:by_fingerprint{fingerprint, source, key}, *dobby_summary{source, key, fingerprint, content_hash}
            :create _gone {source, key, fingerprint => content_hash} }""",
            f"{{ ?[source, key, fingerprint] := *_gone{{source, key, fingerprint}} {SUMMARY.remove} }}",
            f"""{{ ?[source, key] := *_gone{{source, key, content_hash}},
                *{DOCUMENT.name}{{source, key, content_hash: indexed, recipe}}, indexed == content_hash, recipe == $recipe
            {DOCUMENT.remove} }}""",
            """{ ?[source, key, content_hash, batch] := *_gone{source, key, content_hash},
                *dobby_state{source, key, content_hash, recipe: $recipe, batch, state: s @ 'END'}, s == 'completed'
            :create _again {source, key, content_hash => batch} }""",
            transition("_again", "source, key, content_hash, batch", reason="$reason"),
            "{ ?[batch, count(key)] := *_again{key, batch} }",
        ]
        params = {"rows": [[key] for key in keys], "source": source, "recipe": recipe, "reason": reason}
        return [(row[0], row[1]) for row in self._connection.run(script(blocks), params, write=True).rows]
