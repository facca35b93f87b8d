"""Dobby: a good short summary of every record in a CozoDB database, by a local language model.

What other programs import, the rest may change without notice:

- :class:`CozoStore`: a database with Dobby's relations, its summaries and reports; :func:`cozo_client` is pycozo's own
  client, inside the lease.
- :class:`Settings`, :func:`load_settings`: every setting; from the environment and ``dobby.toml``.
- :func:`build_definitions`: all that Dagster loads; or its parts, for definitions of your own:
  :func:`build_assets`, :func:`build_resources`, and the resources :class:`CozoDatabase`, :class:`ModelPool`,
  :class:`PipelineOptions` and :class:`CozoIOManager`, and the partitions, ``record_batch_partitions``.
- :func:`search_summaries`: the records that fit a text, with their summaries.

>>> import dobby_dagster
>>> settings = dobby_dagster.Settings(database={"url": "mem://example"})
>>> store = dobby_dagster.CozoStore.open(settings.database)
>>> store.reports.status("record", None)["records"]
0
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dobby_dagster.definitions import build_definitions
    from dobby_dagster.defs.builders import build_assets, build_resources
    from dobby_dagster.defs.io_manager import CozoIOManager
    from dobby_dagster.defs.partitions import record_batch_partitions
    from dobby_dagster.defs.resources import CozoDatabase, ModelPool, PipelineOptions
    from dobby_dagster.domain.settings import Settings
    from dobby_dagster.domain.settings_loader import load_settings
    from dobby_dagster.search.search_records import search as search_summaries
    from dobby_dagster.store.cozo_store import CozoStore
    from dobby_dagster.store.database.connect import cozo_client

__version__ = "0.1.0"

__all__ = [
    "CozoDatabase",
    "CozoIOManager",
    "CozoStore",
    "ModelPool",
    "PipelineOptions",
    "Settings",
    "__version__",
    "build_assets",
    "build_definitions",
    "build_resources",
    "cozo_client",
    "load_settings",
    "record_batch_partitions",
    "search_summaries",
]

# The module of each, after a colon its name there. Imported at first use: Dagster alone takes seconds, and most
# commands need none of it.
_MODULES = {
    "CozoDatabase": "defs.resources",
    "CozoIOManager": "defs.io_manager",
    "CozoStore": "store.cozo_store",
    "ModelPool": "defs.resources",
    "PipelineOptions": "defs.resources",
    "Settings": "domain.settings",
    "build_assets": "defs.builders",
    "build_definitions": "definitions",
    "build_resources": "defs.builders",
    "cozo_client": "store.database.connect",
    "load_settings": "domain.settings_loader",
    "record_batch_partitions": "defs.partitions",
    "search_summaries": "search.search_records:search",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, named = _MODULES[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), named or name)
