"""Owners say every few seconds that they still work: how other hosts know that their claims are valid.

Times are the database's: a script is evaluated where the database is, so the clocks of hosts may differ. Whoever takes
over from an owner names the renewal by which it was judged; an owner that renewed its claims meanwhile keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from dobby_dagster.domain.owner import Renewal
from dobby_dagster.domain.scope import OwnerId
from dobby_dagster.store.cozoscript.script import script
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import RENEWAL

# Of an owner that ended without a word; so that runs of Dagster that name it are known to be dead for as long.
KEPT_SECONDS = 86_400.0

# A renewal that lies ahead was made before the database's clock was set back: it counts from now on.
_RENEW = [
    f"""{{ ?[owner, lapsed] := owner = $owner, *{RENEWAL.name}{{owner, at, seconds}}, lapsed = now() - at > seconds
    :create _before {{owner => lapsed}} }}""",
    f"""{{ {RENEWAL.head} := owner = $owner, at = now(), seconds = $seconds
    {RENEWAL.head} := *{RENEWAL.name}{{owner, at: before, seconds}}, before > now(), owner != $owner, at = now()
    {RENEWAL.into} }}""",
    "{ ?[lapsed] := *_before{owner, lapsed} }",
]


class Renewals:
    """When each owner of claims last said that it still works."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def renew(self, owner: OwnerId, seconds: float) -> bool:
        """Say that ``owner`` works.

        Args:
            owner: Who.
            seconds: How long its claims are valid from now on.

        Returns:
            Whether they had become invalid since it last did so, so that others may have taken them over.
        """
        params = {"owner": owner, "seconds": float(seconds)}
        rows = self._connection.run(script(_RENEW), params, write=True).rows
        return bool(rows and rows[0][0])

    def of(self, owners: Set[str]) -> Mapping[str, Renewal]:
        """The last renewal of each of ``owners`` that has made one."""
        if not owners:
            return {}
        query = (
            f"?[owner, at, seconds, age] := owner in $owners, *{RENEWAL.name}{{owner, at, seconds}}, age = now() - at"
        )
        rows = self._connection.run(query, {"owners": sorted(owners)}).rows
        return {owner: Renewal(at, seconds, age) for owner, at, seconds, age in rows}

    def remove(self, owner: OwnerId) -> None:
        """Forget ``owner``, which holds no claims any more."""
        self._connection.run(f"?[owner] <- [[$owner]] {RENEWAL.remove}", {"owner": owner}, write=True)

    def forget(self) -> None:
        """Forget owners that have not renewed any claim for a day."""
        query = f"?[owner] := *{RENEWAL.name}{{owner, at}}, at < now() - $kept {RENEWAL.remove}"
        self._connection.run(query, {"kept": KEPT_SECONDS}, write=True)
