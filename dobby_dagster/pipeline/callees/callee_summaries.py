"""What is told of the functions that records call, from the summaries that are stored now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from dobby_dagster.domain.settings import OWN_RELATION
from dobby_dagster.domain.states import OUTCOMES, PASSING_REASONS
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.pipeline.callees.callee_context import callee_context
from dobby_dagster.pipeline.callees.calls import Calls
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.record_states import Member
from dobby_dagster.store.source.source_relation import Source

PAGE = 2_000


@dataclass(frozen=True, slots=True)
class Told:
    """What a model is told before a content.

    Attributes:
        context: Empty if nothing is known.
        is_final: Whether all callees have their outcome.
    """

    context: str = ""
    is_final: bool = True


class CalleeSummaries:
    """Reads summaries of callees under a recipe; the code graph is read once.

    Args:
        store: Where the graph and the summaries are.
        source: The records; only those of ingested trees have calls.
        recipe: Says how many are told.
    """

    def __init__(self, store: CozoStore, source: Source, recipe: Recipe) -> None:
        self._store = store
        self._source = source
        self._recipe = recipe

    @property
    def is_on(self) -> bool:
        """Whether anything is told."""
        return self._recipe.callees > 0 and self._source.settings.relation == OWN_RELATION

    @cached_property
    def calls(self) -> Calls:
        """What calls what."""
        return Calls.read(self._store)

    def levels(self, members: Sequence[Member]) -> list[list[Member]]:
        """``members`` in groups to be summarised one after the other: of a priority, callees before their callers."""
        if not self.is_on or not members:
            return [list(members)]
        level = self.calls.levels([member.version.key for member in members])
        groups: dict[tuple[int, int], list[Member]] = {}
        for member in members:
            groups.setdefault((-member.version.priority, level[member.version.key]), []).append(member)
        return [group for _, group in sorted(groups.items())]

    def of(self, keys: Collection[str]) -> dict[str, Told]:
        """What is told of the callees of each of ``keys`` now."""
        if not self.is_on:
            return dict.fromkeys(keys, Told())
        callees = {key: self.calls.callees.get(key, []) for key in keys}
        texts, open_ones = self._summaries(sorted({callee for found in callees.values() for callee in found}))
        return {
            key: Told(
                callee_context([(each, texts[each]) for each in found if each in texts], self._recipe.callees),
                open_ones.isdisjoint(found),
            )
            for key, found in callees.items()
        }

    def _summaries(self, keys: Sequence[str]) -> tuple[dict[str, str], set[str]]:
        """Summaries by key, and the keys that have no outcome yet."""
        texts: dict[str, str] = {}
        open_ones: set[str] = set()
        for begin in range(0, len(keys), PAGE):
            known = self._store.versions.known(self._source, list(keys[begin : begin + PAGE]))
            present = [(key, each.content_hash) for key, each in known.items() if not each.deleted]
            for entry in self._store.reports.describe(OWN_RELATION, self._recipe.id, present):
                if entry["state"] not in OUTCOMES or entry["reason"] in PASSING_REASONS:
                    open_ones.add(entry["key"])
                elif entry["summary"] is not None:
                    texts[entry["key"]] = entry["summary"]
        return texts, open_ones
