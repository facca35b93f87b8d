"""The invariants of the whole ledger, of every source and recipe, and how a violation is repaired.

Every transaction of Dobby keeps them. They can be broken by another program that writes to the database, by a damaged
file, and by an interrupted purge of an earlier version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dobby_dagster.domain.plurals import counted
from dobby_dagster.store.cozoscript.script import script
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import WAITING, transition


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


RECOVER = "recover"
_STATE = "source, key, content_hash, recipe"
# Rules that bind what is wrong: the version, and the batch in which it came to its state.
_UNSUMMARIZED = f"""has[{_STATE}] := *dobby_summary{{source, key, fingerprint, content_hash, recipe}}
    bad[{_STATE}, batch] := *dobby_state{{{_STATE}, state, batch @ 'END'}}, state == 'completed', not has[{_STATE}]"""
_UNOWNED = f"""owned[owner, batch, recipe] := *dobby_owner{{owner, batch, recipe}}
    bad[{_STATE}, batch] := *dobby_state{{{_STATE}, state, owner, batch @ 'END'}}, state == 'in_progress',
        not owned[owner, batch, recipe]"""
_UNPLACED = """placed[source, key, content_hash] := *dobby_member{batch, position, source, key, content_hash}
    placed[source, key, content_hash] := *dobby_waiting{source, rank, key, content_hash}
    bad[source, key, content_hash, priority, size] :=
        *dobby_version{source, key, content_hash, priority, size, deleted @ 'END'}, deleted == false,
        not placed[source, key, content_hash]"""
_TWICE = f"""times[{_STATE}, count(fingerprint)] := *dobby_summary{{source, key, fingerprint, content_hash, recipe}}
    bad[key, recipe] := times[{_STATE}, n], n > 1"""
_MEMBERS = """there[batch, count(position)] := *dobby_member{batch, position}
    bad[batch, said] := *dobby_batch{batch, members: said}, there[batch, n], n != said
    bad[batch, said] := *dobby_batch{batch, members: said}, not there[batch, _]
    bad[batch, said] := there[batch, said], not *dobby_batch{batch}"""
_UNSEEN = """seen[source, key] := *dobby_version{source, key}
    bad[key, batch] := *dobby_member{batch, position, source, key}, not seen[source, key]"""
# The invariant, the rules that find violations, their columns, those that name an example, and the remedy.
_INVARIANTS = (
    ("completed records have a summary of their content", _UNSUMMARIZED, f"{_STATE}, batch", "key, batch", RECOVER),
    ("records in progress have an owner", _UNOWNED, f"{_STATE}, batch", "key, batch", RECOVER),
    ("present versions are in a batch or wait for one", _UNPLACED, "source, key, content_hash, priority, size",
     "key, source", RECOVER),
    ("a version has one summary under a recipe", _TWICE, "key, recipe", "key, recipe",
     "purge {1}"),
    ("batches have all their members", _MEMBERS, "batch, said", "batch, said", ""),
    ("members of batches have been seen", _UNSEEN, "key, batch", "key, batch", ""),
)  # fmt: skip


class Audit:
    """Checks and repairs the invariants of the ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def examine(self) -> list[Violation]:
        """Every violated invariant; nothing is changed."""
        with self._connection.session():
            return list(self._violations())

    def _violations(self) -> Iterator[Violation]:
        for invariant, rules, columns, place, remedy in _INVARIANTS:
            count = self._connection.run(f"{rules}\n?[count({columns.split(',')[0]})] := bad[{columns}]").rows[0][0]
            if count:
                first = self._connection.run(f"{rules}\n?[{place}] := bad[{columns}] :order {place} :limit 1").rows[0]
                yield Violation(invariant, int(count), f"{first[0]} in {first[1]}", remedy.format(*first))

    def repair(self) -> int:
        """Repair what can be repaired without a backup; return the number of records.

        Records that are completed without a summary, or in progress without an owner, return to pending; versions that
        are in no batch wait for one again.
        """
        with self._connection.session():
            found = {violation.invariant for violation in self._violations()}
        return sum(
            self._apply(block)
            for (invariant, *_), block in zip(_INVARIANTS, (_pend(_UNSUMMARIZED), _pend(_UNOWNED), _WAIT), strict=False)
            if invariant in found
        )

    def _apply(self, blocks: list[str]) -> int:
        return int(self._connection.run(script(blocks), write=True).rows[0][0])


def _pend(rules: str) -> list[str]:
    return [
        f"{{ {rules} ?[{_STATE}, batch] := bad[{_STATE}, batch] :create _bad {{{_STATE} => batch}} }}",
        transition("_bad", f"{_STATE}, batch", reason="'repaired'"),
        "{ ?[count(key)] := *_bad{key} }",
    ]


_WAIT = [
    f"""{{ {_UNPLACED} {WAITING.head} :=
        bad[source, key, content_hash, priority, size], rank = -priority
    :create _bad {{source, rank, key => content_hash, priority, size}} }}""",
    f"{{ {WAITING.head} := *_bad{{{', '.join(WAITING.columns)}}} {WAITING.into} }}",
    "{ ?[count(key)] := *_bad{key} }",
]
