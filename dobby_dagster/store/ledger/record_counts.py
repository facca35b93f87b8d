"""Records by state at a moment, and what has changed since: counts that are kept up to date without a full scan.

States and versions are kept with Cozo's time travel, so a source can be counted page by page as it was at one moment,
while others write. ``dobby_change`` then says which records may have changed since; they are counted at both moments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.record_states import MAY_PASS
from dobby_dagster.store.ledger.relations import CHANGE

QUARANTINED = "quarantined"
_VERSION = "*dobby_version{source: $source, key, content_hash, deleted @ $moment}, deleted == false"
_STATE = "source: $source, key, content_hash, state, retry, retry_count @ $moment}"
_SET_ASIDE = f"quarantined = state == 'failed' && !({MAY_PASS})"


@dataclass(frozen=True, slots=True)
class Changes:
    """What was written after a moment, under any recipe.

    Attributes:
        moment: The last of these changes: microseconds on the database's own clock.
        keys: Keys of records of a source that are new, changed, deleted, or came to a new state.
    """

    moment: int
    keys: set[str]


class RecordCounts:
    """Reading the counts; nothing here changes anything."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def moment(self) -> int:
        """The last change that was noted."""
        return int(self._connection.run("?[max(at)] := *dobby_change{at}").rows[0][0])

    def now(self) -> int:
        """The present moment, which every write so far has."""
        return int(self._connection.run("?[at] := *dobby_clock{name: 'clock', at}").rows[0][0])

    def changes(self, relation: str, since: int) -> Changes | None:
        """What was changed in ``relation`` after the change at ``since``.

        None where that change is not known, or no longer, as after a purge or the restore of a backup: count again.
        """
        rows = self._connection.run(f"{CHANGE.head} := {CHANGE.stored}, at >= $since", {"since": since}).rows
        if not any(row[0] == since for row in rows):
            return None
        keys = {key for at, source, changed in rows if at > since and source == relation for key in changed}
        return Changes(max(row[0] for row in rows), keys)

    def keys(self, relation: str, after: str | None, limit: int) -> list[str]:
        """Up to ``limit`` known keys, deleted ones too, in order, after ``after``; from the first where None."""
        return [key for key, _ in self._known(relation, after, limit)]

    def known_pages(self, relation: str, size: int, moment: int | None = None) -> Iterator[list[tuple[str, bool]]]:
        """All keys known at ``moment``, by default now, in order, and whether each record is deleted.

        The database is closed between two pages.
        """
        after = None
        while known := self._known(relation, after, size, moment):
            yield known
            after = known[-1][0]

    def key_pages(self, relation: str, size: int) -> Iterator[list[str]]:
        """The keys of :meth:`known_pages`."""
        for page in self.known_pages(relation, size):
            yield [key for key, _ in page]

    def _known(self, relation: str, after: str | None, limit: int, moment: int | None = None) -> list[tuple[str, bool]]:
        at = "'END'" if moment is None else "$moment"
        query = f"?[key, deleted] := *dobby_version{{source: $source, key, deleted @ {at}}}"
        params = {"source": relation, "moment": moment}
        if after is None:
            empty = self._connection.run(f"{query}, key = ''", params).rows
            return [(key, deleted) for key, deleted in empty] + self._known(relation, "", limit, moment)
        found = self._connection.run(f"{query}, key > $after :limit {int(limit)}", {**params, "after": after}).rows
        return [(key, deleted) for key, deleted in found]

    def by_state(
        self, relation: str, recipe: RecipeId | None, keys: Collection[str], moment: int, max_retries: int
    ) -> Counter[str]:
        """How many of the records ``keys`` were in each state at ``moment``; deleted ones are not counted.

        A record is in the state of its version of that moment: pending where no run has reached it. Failed records that
        are quarantined, by their number of attempts, are counted under ``quarantined`` as well.
        """
        rules = f"""now[key, content_hash] := key in $keys, {_VERSION}
            state_of[key, state, quarantined] := now[key, content_hash], *dobby_state{{recipe: $recipe, {_STATE}, {_SET_ASIDE}"""
        return self._counted(rules, relation, recipe, moment, max_retries, {"keys": list(keys)})

    def by_state_between(
        self, relation: str, recipe: RecipeId | None, after: str, last: str, moment: int, max_retries: int
    ) -> Counter[str]:
        """:meth:`by_state` of all records with keys after ``after``, up to ``last``: a third of the time for many."""
        rules = f"""now[key, content_hash] := {_VERSION}, key > $after, key <= $last
            stored[key, content_hash, state, quarantined] := *dobby_state{{recipe, {_STATE}, recipe == $recipe,
                key > $after, key <= $last, {_SET_ASIDE}
            state_of[key, state, quarantined] := now[key, content_hash], stored[key, content_hash, state, quarantined]"""
        return self._counted(rules, relation, recipe, moment, max_retries, {"after": after, "last": last})

    def _counted(
        self, rules: str, relation: str, recipe: RecipeId | None, moment: int, max_retries: int, which: dict[str, Any]
    ) -> Counter[str]:
        rows = self._connection.run(
            f"""{rules}
            reached[key] := state_of[key, _, _]
            ?[state, quarantined, count(key)] := state_of[key, state, quarantined]
            ?[state, quarantined, count(key)] := now[key, _], not reached[key], state = 'pending', quarantined = false""",
            {"source": relation, "recipe": recipe or "", "moment": moment, "max_retries": max_retries, **which},
        ).rows
        counts: Counter[str] = Counter()
        for state, quarantined, count in rows:
            counts[state] += count
            counts[QUARANTINED] += count * quarantined
        return counts

    def waiting(self, relation: str) -> int:
        """How many versions wait to be put into a batch, as a trigger counts them."""
        query = "?[count] := *dobby_waiting_count{source: $source, count}"
        rows = self._connection.run(query, {"source": relation}).rows
        return int(rows[0][0]) if rows else 0

    def batches(self) -> int:
        """How many batches were ever made, of all sources."""
        rows = self._connection.run("?[value] := *dobby_meta{name: 'next_batch', value}").rows
        return int(rows[0][0]) - 1 if rows else 0
