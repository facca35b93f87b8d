"""The packages that run an embedded database: CozoDB itself, or mnestic, its maintained fork.

Both have the same interface and the same files, see ``docs/decisions/cozo-or-mnestic.md``.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, TypeAlias

from dobby_dagster.domain.errors import SettingsError

if TYPE_CHECKING:
    from pycozo.client import Client

Driver: TypeAlias = Literal["cozo", "mnestic"]
# The package of each, as a registry names it.
PACKAGES: dict[Driver, str] = {"cozo": "cozo-embedded", "mnestic": "mnestic"}


def require_driver(driver: Driver) -> None:
    """Check that the package of ``driver`` is installed.

    Raises:
        SettingsError: It is not.
    """
    if driver == "mnestic" and find_spec("mnestic") is None:
        raise SettingsError(
            "database.driver = 'mnestic' needs the package mnestic, which is not installed",
            hint="pip install 'dobby-dagster[mnestic]'",
        )


def package_of(driver: Driver) -> str:
    """Package and version of ``driver``.

    >>> package_of("cozo")
    'cozo-embedded 0.7.6'
    """
    return f"{PACKAGES[driver]} {version(PACKAGES[driver])}"


def open_client(driver: Driver, engine: str, path: str, query_seconds: float) -> Client:
    """A pycozo client of an embedded database.

    Args:
        driver: Which package runs it.
        engine: ``sqlite``, ``rocksdb`` or ``mem``.
        path: The file or folder; empty for ``mem``.
        query_seconds: The longest time of a query; only mnestic has such a limit.
    """
    if driver == "mnestic":
        from dobby_dagster.store.database.mnestic_client import MnesticClient

        return MnesticClient(engine, path, query_seconds)
    from pycozo.client import Client

    return Client(engine, path, dataframe=False)
