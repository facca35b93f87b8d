"""The invariants of the ledger as CozoScript that finds their violations, page by page."""

from __future__ import annotations

from dataclasses import dataclass

RECOVER = "recover"
# What names a state: the record version, and the recipe.
VERSION_STATE = "source, key, content_hash, recipe"


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule of the ledger, and how its violations are found.

    Attributes:
        text: The rule.
        rules: CozoScript that binds ``bad[columns]``. ``{of}`` and ``{within}`` stand before and after each atom that is
            read page by page, and limit it to the page.
        columns: Of ``bad``.
        place: Two of them, which name an example.
        remedy: The command that repairs it; empty where only a backup does.
        by_batch: Whether a page is of batches, not of keys.
    """

    text: str
    rules: str
    columns: str
    place: str
    remedy: str
    by_batch: bool = False

    def query(self, page: Page | None, head: str, end: str = "") -> str:
        """A query for what is wrong in a page; in the whole ledger where None."""
        of, within = (page.of, page.within) if page else ("", "")
        rules = self.rules.replace("{of}", of).replace("{within}", within)
        return f"{rules}\n?[{head}] := bad[{self.columns}] {end}"


@dataclass(frozen=True, slots=True)
class Page:
    """A range of keys of one source, or of batches: from ``first`` to before ``end``, without an end where None."""

    column: str
    source: str
    first: str
    end: str | None

    @property
    def of(self) -> str:
        """What stands before an atom; empty for a page of batches."""
        return "source = $source," if self.source else ""

    @property
    def within(self) -> str:
        """What stands after an atom."""
        return f", {self.column} >= $first" + (f", {self.column} < $end" if self.end is not None else "")

    @property
    def params(self) -> dict[str, str]:
        """What both refer to."""
        found = {"source": self.source, "first": self.first, "end": self.end}
        return {name: value for name, value in found.items() if value is not None}


UNSUMMARIZED = Invariant(
    "completed records have a summary of their content",
    f"""has[{VERSION_STATE}] := {{of}} *dobby_summary{{source, key, fingerprint, content_hash, recipe}}{{within}}
    bad[{VERSION_STATE}, batch] := {{of}} *dobby_state{{{VERSION_STATE}, state, batch @ 'END'}}{{within}}, state == 'completed',
        not has[{VERSION_STATE}]""",
    f"{VERSION_STATE}, batch", "key, batch", RECOVER,
)  # fmt: skip
UNOWNED = Invariant(
    "records in progress have an owner",
    f"""bad[{VERSION_STATE}, batch] := {{of}} *dobby_state{{{VERSION_STATE}, state, owner, batch @ 'END'}}{{within}},
        state == 'in_progress', not *dobby_owner{{owner, batch, recipe}}""",
    f"{VERSION_STATE}, batch", "key, batch", RECOVER,
)  # fmt: skip
# What came to a state was in a batch; of the few other versions each has to be found in one, or waiting.
UNPLACED = Invariant(
    "present versions are in a batch or wait for one",
    """began[source, key, content_hash] := {of} *dobby_state{source, key, content_hash, recipe @ 'END'}{within}
    new[source, key, content_hash, priority, size] :=
        {of} *dobby_version{source, key, content_hash, priority, size, deleted @ 'END'}{within}, deleted == false,
        not began[source, key, content_hash]
    some[count(key)] := new[source, key, content_hash, priority, size]
    placed[source, key, content_hash] := some[n], n > 0, *dobby_member{batch, position, source, key, content_hash},
        new[source, key, content_hash, priority, size]
    placed[source, key, content_hash] := some[n], n > 0, *dobby_waiting{source, rank, key, content_hash},
        new[source, key, content_hash, priority, size]
    bad[source, key, content_hash, priority, size] := new[source, key, content_hash, priority, size],
        not placed[source, key, content_hash]""",
    "source, key, content_hash, priority, size", "key, source", RECOVER,
)  # fmt: skip
TWICE = Invariant(
    "a version has one summary under a recipe",
    f"""times[{VERSION_STATE}, count(fingerprint)] :=
        {{of}} *dobby_summary{{source, key, fingerprint, content_hash, recipe}}{{within}}
    bad[key, recipe] := times[{VERSION_STATE}, n], n > 1""",
    "key, recipe", "key, recipe", "purge {1}",
)  # fmt: skip
MEMBERS = Invariant(
    "batches have all their members",
    """there[batch, count(position)] := *dobby_member{batch, position}{within}
    bad[batch, said] := *dobby_batch{batch, members: said}{within}, there[batch, n], n != said
    bad[batch, said] := *dobby_batch{batch, members: said}{within}, not there[batch, _]
    bad[batch, said] := there[batch, said], not *dobby_batch{batch}""",
    "batch, said", "batch, said", "", by_batch=True,
)  # fmt: skip
UNSEEN = Invariant(
    "members of batches have been seen",
    "bad[key, batch] := *dobby_member{batch, position, source, key}{within}, not *dobby_version{source, key}",
    "key, batch", "key, batch", "", by_batch=True,
)  # fmt: skip
INVARIANTS = (UNSUMMARIZED, UNOWNED, UNPLACED, TWICE, MEMBERS, UNSEEN)
