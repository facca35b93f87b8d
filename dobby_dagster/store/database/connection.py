"""The protocol of a connection to CozoDB, the same for every engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from dobby_dagster.store.database.drivers import Driver

Row = list[Any]
Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """Rows of values with the names of their columns."""

    headers: list[str]
    rows: list[Row]

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Each row by column name."""
        for row in self.rows:
            yield dict(zip(self.headers, row, strict=True))


class Connection(Protocol):
    """A CozoDB, embedded or behind HTTP.

    All values go in as parameters. Every script is one transaction.
    """

    url: str
    # The package that runs the database in this process; None where a server has it.
    driver: Driver | None

    def run(self, script: str, params: Params | None = None, *, write: bool = False) -> Result:
        """Run one script; without ``write`` the engine refuses to change anything.

        Raises:
            StoreError: The script failed, or CozoDB panicked; the subclass says how.
        """
        ...

    @contextmanager
    def session(self, *, write: bool = False) -> Iterator[None]:
        """Keep the database open for several scripts of this thread; never around inference."""
        yield

    @contextmanager
    def replacement(self) -> Iterator[Connection]:
        """An empty database that atomically replaces this one at the end of the block.

        Raises:
            StoreAccessError: This database is not empty.
            StoreUnavailableError: A server has the database.
        """
        yield self

    def backup(self, path: str) -> None:
        """Write all data to ``path``, an absent or empty file; for a server, a path on the server."""
        ...

    def restore(self, path: str) -> None:
        """Fill this empty database from the backup at ``path``."""
        ...

    def check(self) -> list[str]:
        """Damage that the storage engine finds in its own files, one line each; none where the engine has no such check."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...
