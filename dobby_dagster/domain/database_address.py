"""Where a database is: its URL, taken apart in this one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FILES = ("sqlite", "rocksdb")
_SERVERS = ("http", "https")


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """A database URL in its parts.

    Attributes:
        engine: ``sqlite``, ``rocksdb``, ``mem``, ``http`` or ``https``.
        place: A path, the name of a database in memory, or a server's host, port and path.

    >>> DatabaseAddress.parse("sqlite:////data/code.db").file
    PosixPath('/data/code.db')
    >>> str(DatabaseAddress("mem", "example"))
    'mem://example'
    """

    engine: str
    place: str

    @classmethod
    def parse(cls, url: str) -> DatabaseAddress:
        """The parts of ``url``.

        Raises:
            ValueError: It is not the URL of a database.
        """
        engine, separator, place = url.partition("://")
        if not separator or engine not in (*_FILES, "mem", *_SERVERS):
            raise ValueError("must be sqlite:///PATH, rocksdb:///PATH, mem://NAME or http(s)://HOST:PORT")
        if engine in _FILES and not (place := place.removeprefix("/")):
            raise ValueError(f"needs a path: {engine}:///PATH")
        return cls(engine, place)

    def __str__(self) -> str:
        return f"{self.engine}://{'/' if self.file else ''}{self.place}"

    @property
    def file(self) -> Path | None:
        """The file or folder of an embedded database; None of one in memory or on a server."""
        return Path(self.place) if self.engine in _FILES else None

    @property
    def is_server(self) -> bool:
        """Whether a server has the database."""
        return self.engine in _SERVERS
