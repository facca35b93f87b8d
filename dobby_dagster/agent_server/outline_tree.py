"""The tree that the keys of records make: folders, files, classes, functions.

A key is ``folder/file::Class.method``. A name with a dot is a part of another record only if there is one of that name:
sections of documents have dots in their titles. The key of a row whose key is no text has no parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dobby_dagster.domain.record_key import SEPARATOR, split_among
from dobby_dagster.store.source.row_keys import PREFIX


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, a file, or a record in one.

    Attributes:
        key: A record's key, or the path that such keys begin with.
        kind: ``record``; ``file`` or ``folder`` where there is no record of this key.
        depth: Levels below what was asked for, from 1.
        records: Records at and below it.
        order: Sorts each place before what is in it.
    """

    key: str
    kind: str
    depth: int
    records: int
    order: tuple[str, ...]

    @property
    def position(self) -> str:
        """``order`` as one text, from which :func:`order_at` reads it.

        A key alone does not tell it: what a key is in depends on the other keys.
        """
        return f"{','.join(str(len(above)) for above in self.order)} {self.key}"


def order_at(position: str) -> tuple[str, ...]:
    """The ``order`` of the place at ``position``.

    >>> order_at(Place("src/a.py", "file", 2, 1, ("src", "src/a.py")).position)
    ('src', 'src/a.py')
    """
    lengths, _, key = position.partition(" ")
    return tuple(key[: int(length)] for length in lengths.split(","))


def chain(key: str, keys: frozenset[str]) -> list[str]:
    """The places from the top to ``key``.

    >>> chain("src/a.py::Two.three", frozenset({"src/a.py::Two"}))
    ['src', 'src/a.py', 'src/a.py::Two', 'src/a.py::Two.three']
    >>> chain("docs/a.md::Version 1.2", frozenset())
    ['docs', 'docs/a.md', 'docs/a.md::Version 1.2']
    >>> chain('json:["src/a.py", 1]', frozenset())
    ['json:["src/a.py", 1]']
    """
    if key.startswith(PREFIX):
        return [key]
    path, name = split_among(key, keys)
    found = [path[:end] for end, character in enumerate(path) if character == "/" and end]
    found += [path] if path else []
    if key == path:
        return found or [key]
    names = name.split(".")
    parts = (f"{path}::{'.'.join(names[:length])}" for length in range(1, len(names)))
    return [*found, *(part for part in parts if part in keys), key]


def _order_of(key: str, keys: frozenset[str], path: str) -> tuple[str, ...]:
    """The places from below ``path`` to ``key``; empty where it is not below."""
    above = chain(key, keys)
    if not path:
        return tuple(above)
    return tuple(above[above.index(path) + 1 :]) if path in above else ()


def beginning(path: str) -> str:
    """What all keys begin with that say where ``path`` is: a record at a part of it may end the place of all others.

    >>> beginning("src/a.py"), beginning("old::src/a.py::f")
    ('src/a.py', 'old')
    """
    return path if path.startswith(PREFIX) else path.partition(SEPARATOR)[0]


def places(keys: Iterable[str], path: str, depth: int) -> list[Place]:
    """The places below ``path`` down to ``depth`` levels, each before what is in it.

    Args:
        keys: Of all records that begin with :func:`beginning` of ``path``; others may be among them.
        path: A place; empty for the top.
        depth: From 1.

    >>> [(place.key, place.kind, place.records) for place in places(["a/b.py::f", "a/b.py::g", "a/c.md"], "a", 1)]
    [('a/b.py', 'file', 2), ('a/c.md', 'record', 1)]
    """
    known = frozenset(keys)
    counts: dict[tuple[str, ...], int] = {}
    for key in known:
        above = _order_of(key, known, path)
        for length in range(1, min(depth, len(above)) + 1):
            order = above[:length]
            counts[order] = counts.get(order, 0) + 1
    files = {split_among(key, known)[0] for key in known}

    def kind(key: str) -> str:
        return "record" if key in known else "file" if key in files else "folder"

    return [Place(order[-1], kind(order[-1]), len(order), records, order) for order, records in sorted(counts.items())]
