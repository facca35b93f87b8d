"""A database and a Dagster instance, for tests that run in this process."""

from collections.abc import Callable

import dagster as dg

from dobby_dagster.domain.settings import Settings
from dobby_dagster.store.cozo_store import CozoStore

Make = Callable[..., Settings]


class World:
    """The settings, the store that they name, and an instance that knows nothing yet."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = CozoStore.open(settings.database)
        self.instance = dg.DagsterInstance.ephemeral()

    @property
    def partitions(self) -> list[str]:
        return list(self.instance.get_dynamic_partitions("record_batches"))
