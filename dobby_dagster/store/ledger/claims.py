"""Claims on records: taken, held, released, and taken over from an owner that died."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from dobby_dagster.domain.owner import Renewal, is_alive
from dobby_dagster.domain.scope import OwnerId, Scope
from dobby_dagster.domain.states import PENDING
from dobby_dagster.store.cozoscript.script import script, unpack
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.record_states import Member
from dobby_dagster.store.ledger.relations import OWNER, RENEWAL, transition
from dobby_dagster.store.ledger.renewals import Renewals

# What a record keeps when it is claimed or released.
_KEPT = "source, key, content_hash, retry_count"
_WANTED = [*_KEPT.split(", "), "since", "before", "renewed"]
# `alive` are the owners that have renewed their claims since they were read; `renewed` is what was read, or null.
_CLAIM = f"""{{ wanted[{", ".join(_WANTED)}] := {unpack(_WANTED)}
    alive[before] := wanted[_, _, _, _, _, before, renewed], *{RENEWAL.name}{{owner: before, at}},
        is_null(renewed) || at != renewed
    current[source, key, content_hash, s, o, t] := wanted[source, key, content_hash, _, _, _, _],
        *dobby_state{{source, key, content_hash, recipe: $recipe, state: s, owner: o, since: t @ 'END'}}
    ?[{_KEPT}] := wanted[{_KEPT}, since, _, _], current[source, key, content_hash, s, o, t],
        s == 'pending' || (s == 'in_progress' && o == $owner) || (is_in(s, ['failed', 'skipped']) && t == since)
    ?[{_KEPT}] := wanted[{_KEPT}, _, before, _], current[source, key, content_hash, s, o, _],
        s == 'in_progress', o == before, not alive[before]
    ?[{_KEPT}] := wanted[{_KEPT}, _, _, _], not current[source, key, content_hash, _, _, _]
:create _won {{source, key, content_hash => retry_count}} }}"""
_ALL = "?[owner, batch, recipe] := owner = $owner, batch = $batch, recipe = $recipe"
_IF_NOT_RENEWED = f"""alive[owner] := owner = $owner, *{RENEWAL.name}{{owner, at}}, is_null($renewed) || at != $renewed
    {_ALL}, not alive[owner]"""


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who works on the records of a scope, and since when (seconds since the epoch)."""

    owner: OwnerId
    scope: Scope
    since: float
    renewal: Renewal | None = field(default=None, compare=False)

    @property
    def is_alive(self) -> bool:
        """Whether the owner still works."""
        return is_alive(self.owner, self.since, self.renewal)


class Claims:
    """Who has which records in progress."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._renewals = Renewals(connection)

    def claim(self, members: Sequence[Member], owner: OwnerId, scope: Scope) -> set[tuple[str, str]]:
        """Mark as in progress what no other run has taken meanwhile; return ``(key, content hash)`` of what was won.

        Won is what is pending, what failed or was skipped and is still as it was read, and what an owner left behind
        that has not renewed its claims since it was read.
        """
        blocks = [
            _CLAIM,
            transition("_won", _KEPT, state="'in_progress'", owner="$owner", run="$run", since="$now"),
            OWNER.put("owners"),
            "{ ?[key, content_hash] := *_won{key, content_hash} }",
        ]
        rows = []
        for member in members:
            version, state = member.version, member.state or PENDING
            row = [version.source, version.key, version.content_hash, state.retry_count, member.since, state.owner]
            rows.append([*row, member.renewal and member.renewal.at])
        now = time.time()
        owners = [[owner, scope.batch, scope.recipe, scope.run, now]]
        params = {"rows": rows, "owner": owner, "owners": owners, "now": now, **asdict(scope)}
        return {(row[0], row[1]) for row in self._connection.run(script(blocks), params, write=True).rows}

    def held(self, owner: OwnerId, scope: Scope) -> set[tuple[str, str]]:
        """``(key, content hash)`` of what ``owner`` has in progress in the batch."""
        query = """?[key, content_hash] := *dobby_member{batch: $batch, source, key, content_hash},
            *dobby_state{source, key, content_hash, recipe: $recipe, state: s, owner: o @ 'END'},
            s == 'in_progress', o == $owner"""
        rows = self._connection.run(query, {"owner": owner, "recipe": scope.recipe, "batch": scope.batch}).rows
        return {(row[0], row[1]) for row in rows}

    def owners(self) -> list[Ownership]:
        """Who has started records and not released them; those that died left some in progress."""
        rows = self._connection.run(f"{OWNER.head} := {OWNER.stored}").rows
        renewals = self._renewals.of({row[0] for row in rows})
        return [
            Ownership(owner, Scope(recipe, batch, run), since, renewals.get(owner))
            for owner, batch, recipe, run, since in rows
        ]

    def release(self, owner: OwnerId, scope: Scope) -> int:
        """Return to pending what ``owner`` started in the batch and did not finish; return the number of records.

        One transaction, which touches only what the owner still holds, and forgets the owner.
        """
        return self._release(_ALL, owner, scope, {})

    def release_abandoned(self, left: Ownership) -> int:
        """:meth:`release` what an owner left behind that was read as dead, unless it has renewed its claims since."""
        renewed = left.renewal.at if left.renewal else None
        return self._release(_IF_NOT_RENEWED, left.owner, left.scope, {"renewed": renewed})

    def _release(self, chosen: str, owner: OwnerId, scope: Scope, params: dict[str, float | None]) -> int:
        blocks = [
            f"{{ {chosen} :create _ended {{owner, batch, recipe}} }}",
            f"""{{ ?[{_KEPT}] := *_ended{{owner, batch, recipe}}, *dobby_member{{batch, source, key, content_hash}},
                *dobby_state{{source, key, content_hash, recipe, state: s, owner: o, retry_count @ 'END'}},
                s == 'in_progress', o == owner
            :create _left {{source, key, content_hash => retry_count}} }}""",
            transition("_left", _KEPT),
            f"{{ ?[owner, batch, recipe] := *_ended{{owner, batch, recipe}} {OWNER.remove} }}",
            "{ ?[count(key)] := *_left{key} }",
        ]
        given = {"owner": owner, "recipe": scope.recipe, "batch": scope.batch, **params}
        return int(self._connection.run(script(blocks), given, write=True).rows[0][0])
