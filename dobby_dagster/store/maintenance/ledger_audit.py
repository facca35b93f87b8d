"""The invariants of the whole ledger, of every source and recipe, and how a violation is repaired.

Every transaction of Dobby keeps them. They can be broken by another program that writes to the database, by a damaged
file, and by an interrupted purge of an earlier version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dobby_dagster.domain.plurals import counted
from dobby_dagster.store.cozoscript.script import script
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import STATE, SUMMARY, VERSION, WAITING, transition
from dobby_dagster.store.maintenance.ledger_invariants import (
    INVARIANTS,
    UNOWNED,
    UNPLACED,
    UNSUMMARIZED,
    VERSION_STATE,
    Invariant,
    Page,
)


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that is violated.

    Attributes:
        invariant: The rule.
        count: How many rows violate it.
        example: One of them.
        remedy: The command of ``dobby`` that repairs it; empty where only a backup does.
    """

    invariant: str
    count: int
    example: str
    remedy: str

    @property
    def is_loss(self) -> bool:
        """Whether rows are lost, so that only a backup can repair it."""
        return not self.remedy

    def __str__(self) -> str:
        return f"{counted(self.count, 'violation')} of: {self.invariant}, such as {self.example}"


# Records that one query examines: a writer waits for about a tenth of a second.
PAGE = 10_000


class Audit:
    """Checks and repairs the invariants of the ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def examine(self) -> list[Violation]:
        """Every violated invariant; nothing is changed.

        Read page by page, so that other processes can use the database in between: each page is of one moment.
        """
        pages = [*self._key_pages()], [*self._batch_pages()]
        found = (self._examine(invariant, pages[invariant.by_batch]) for invariant in INVARIANTS)
        return [violation for violation in found if violation is not None]

    def _examine(self, invariant: Invariant, pages: Sequence[Page]) -> Violation | None:
        count, example = 0, None
        for page in pages:
            head = f"count({invariant.columns.split(',')[0]})"
            there = int(self._connection.run(invariant.query(page, head), page.params).rows[0][0])
            if there and example is None:
                first = invariant.query(page, invariant.place, f":order {invariant.place} :limit 1")
                example = next(iter(self._connection.run(first, page.params).rows), None)
            count += there
        if not count or example is None:
            return None
        name = f"{example[0]} in {example[1]}"
        return Violation(invariant.text, count, name, invariant.remedy.format(*example))

    def _key_pages(self) -> Iterator[Page]:
        """All keys of all sources, in ranges that begin at known ones."""
        for source in sorted(self._sources()):
            first: str | None = ""
            while first is not None:
                keys = self._connection.run(
                    "?[key] := *dobby_version{source: $source, key @ 'END'}, key > $first"
                    f" :offset {PAGE - 1} :limit 1",
                    {"source": source, "first": first},
                ).rows
                end = keys[0][0] if keys else None
                yield Page("key", source, first, end)
                first = end

    def _sources(self) -> set[str]:
        """The sources of all versions, states and summaries; the next one is looked up, not searched."""
        found = set()
        for relation in (VERSION, STATE, SUMMARY):
            query, after = f"?[source] := *{relation.name}{{source}}, source >= $after :limit 1", ""
            while rows := self._connection.run(query, {"after": after}).rows:
                found.add(rows[0][0])
                after = rows[0][0] + "\0"  # with ">" every row of the one before is read
        return found

    def _batch_pages(self) -> Iterator[Page]:
        """All batches, in ranges that hold about as many records as a page."""
        first, members = "", 0
        for batch, count in self._connection.run("?[batch, members] := *dobby_batch{batch, members}").rows:
            if members and members + count > PAGE:
                yield Page("batch", "", first, batch)
                first, members = batch, 0
            members += count
        yield Page("batch", "", first, None)

    def repair(self) -> int:
        """Repair what can be repaired without a backup; return the number of records.

        Records that are completed without a summary, or in progress without an owner, return to pending; versions that
        are in no batch wait for one again.
        """
        found = {violation.invariant for violation in self.examine()}
        repairs = (UNSUMMARIZED, _pend(UNSUMMARIZED)), (UNOWNED, _pend(UNOWNED)), (UNPLACED, _WAIT)
        return sum(self._apply(blocks) for invariant, blocks in repairs if invariant.text in found)

    def _apply(self, blocks: list[str]) -> int:
        return int(self._connection.run(script(blocks), write=True).rows[0][0])


def _pend(invariant: Invariant) -> list[str]:
    return [
        f"{{ {invariant.query(None, f'{VERSION_STATE}, batch')} :create _bad {{{VERSION_STATE} => batch}} }}",
        transition("_bad", f"{VERSION_STATE}, batch", reason="'repaired'"),
        "{ ?[count(key)] := *_bad{key} }",
    ]


_WAIT = [
    f"""{{ {UNPLACED.query(None, ", ".join(WAITING.columns), ", rank = -priority")}
    :create _bad {{source, rank, key => content_hash, priority, size}} }}""",
    f"{{ {WAITING.head} := *_bad{{{', '.join(WAITING.columns)}}} {WAITING.into} }}",
    "{ ?[count(key)] := *_bad{key} }",
]
