"""The claims of one run: renewed while it lasts, released at its end, and looked up again after a pause."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dobby_dagster.domain.errors import StoreError
from dobby_dagster.domain.owner import new_owner, retire
from dobby_dagster.domain.scope import Scope
from dobby_dagster.pipeline.summarization.claim_renewal import ClaimRenewal
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.record_states import Member, Seen

log = logging.getLogger("dobby.claims")


class RunClaims:
    """A context manager for one use: at its end the owner is dead, and what it claimed and did not finish is released.

    Args:
        store: Where the claims are.
        seconds: How long they are valid after each renewal.
    """

    def __init__(self, store: CozoStore, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._owner = new_owner()
        self._scopes: set[Scope] = set()
        self._renewal = ClaimRenewal(store.renewals, self._owner, seconds)
        self._lapses = 0
        self._held: set[tuple[str, str]] | None = None

    def __enter__(self) -> RunClaims:
        self._store.renewals.renew(self._owner, self._seconds)  # a run that dies at its first claim is known to be dead
        self._renewal.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        retire(self._owner)
        try:
            for scope in self._scopes:
                self._store.claims.release(self._owner, scope)
        except BaseException:
            self._renewal.stop()  # its last renewal stays: by it other hosts know within a minute that it is dead
            raise
        self._renewal.__exit__(*exc)

    @property
    def seen(self) -> Seen:
        """The state of each record that is claimed."""
        return Seen(self._owner)

    def claim(self, members: Sequence[Member], scope: Scope) -> list[Member]:
        """Claim ``members``; return those that no other run has."""
        self._scopes.add(scope)
        won = self._store.claims.claim(members, self._owner, scope)
        self._held = None
        return [member for member in members if _key(member) in won]

    def holds(self, member: Member, scope: Scope) -> bool:
        """Whether a record that was claimed is not lost to another run, as far as is known.

        The database is asked after a pause only: of this process, or of its connection to the database.
        """
        self._renewal.catch_up()
        if self._renewal.lapses != self._lapses:
            self._ask(scope, self._renewal.lapses)
        return self._held is None or _key(member) in self._held

    def _ask(self, scope: Scope, lapses: int) -> None:
        try:
            self._held = self._store.claims.held(self._owner, scope)
            self._lapses = lapses
        except StoreError as error:
            log.info("which claims are left could not be read: %s", error)


def _key(member: Member) -> tuple[str, str]:
    return member.version.key, member.version.content_hash
