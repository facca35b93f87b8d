"""The database as sensors and schedules use it: never created, and waited for only as long as a tick allows."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import dagster as dg

from dobby_dagster.domain.errors import StoreAccessError, StoreBusyError
from dobby_dagster.domain.settings import Settings

if TYPE_CHECKING:
    from dobby_dagster.store.cozo_store import CozoStore

# A tick of a sensor or schedule has sixty seconds.
LEASE_SECONDS = 10.0
Result = TypeVar("Result")


def with_store(settings: Settings, evaluate: "Callable[[CozoStore], Result]") -> Result | dg.SkipReason:
    """The result of ``evaluate`` on the store of ``settings``; a skip where there is no database or it is locked."""
    from dobby_dagster.store.cozo_store import CozoStore

    timeout = min(LEASE_SECONDS, settings.database.lease_timeout_seconds)
    database = settings.database.model_copy(update={"lease_timeout_seconds": timeout})
    try:
        return evaluate(CozoStore.open(database, create=False))
    except (StoreAccessError, StoreBusyError) as error:
        return dg.SkipReason(f"the database is not available: {error}")
