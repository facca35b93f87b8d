"""The database as automation opens it: never made, and not waited for until a tick's time is over."""

from typing import TYPE_CHECKING

from dobby_dagster.domain.settings import Settings

if TYPE_CHECKING:
    from dobby_dagster.store.cozo_store import CozoStore

# A tick of a sensor or schedule has sixty seconds.
LEASE_SECONDS = 10.0


def opened(settings: Settings) -> "CozoStore":
    """The store of ``settings``.

    Raises:
        StoreAccessError: There is no database yet.
        StoreBusyError: Somebody holds it for long.
    """
    from dobby_dagster.store.cozo_store import CozoStore

    patience = min(LEASE_SECONDS, settings.database.lease_timeout_seconds)
    database = settings.database.model_copy(update={"lease_timeout_seconds": patience})
    return CozoStore.open(database, create=False)
