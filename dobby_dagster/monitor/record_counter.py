"""Records by state, kept up to date: counted once page by page, then only what has changed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.states import State
from dobby_dagster.store.ledger.record_counts import QUARANTINED, RecordCounts

# A page takes about 20 ms, for which writers wait; they get as long between two pages.
PAGE = 500


class RecordCounter:
    """The records of one source under one recipe, by state.

    Args:
        counts: Of the store.
        relation: The source.
        recipe: In use; None where none was used yet.
        max_retries: Failed attempts after which a record is quarantined.
    """

    def __init__(self, counts: RecordCounts, relation: str, recipe: RecipeId | None, max_retries: int) -> None:
        self.relation, self.recipe, self._max_retries = relation, recipe, max_retries
        self._counts = counts
        self._by_state: Counter[str] = Counter()
        self._moment: int | None = None

    def refresh(self) -> dict[str, int]:
        """The records in each state, and those ``quarantined`` among the failed, as of the last change.

        The first call reads every record, which takes a minute for a million.
        """
        changed = None if self._moment is None else self._counts.changes(self.relation, self._moment)
        if changed is None or self._moment is None:
            self._count_all()
        elif changed.moment != self._moment:
            for page in _pages(sorted(changed.keys)):
                self._by_state.subtract(self._count(page, self._moment))
                self._by_state.update(self._count(page, changed.moment))
            self._moment = changed.moment
        return {state: self._by_state[state] for state in (*(state.value for state in State), QUARANTINED)}

    def _count_all(self) -> None:
        counted: Counter[str] = Counter()
        moment = self._counts.moment()
        for keys in self._counts.key_pages(self.relation, PAGE):
            began = time.monotonic()
            counted.update(self._count(keys, moment))
            if len(keys) >= PAGE:
                time.sleep(time.monotonic() - began)
        self._by_state, self._moment = counted, moment

    def _count(self, keys: Collection[str], moment: int) -> Counter[str]:
        return self._counts.by_state(self.relation, self.recipe, keys, moment, self._max_retries)


def _pages(keys: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while page := list(islice(rest, PAGE)):
        yield page
