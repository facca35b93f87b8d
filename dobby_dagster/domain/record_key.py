"""The parts of a record's key: the file, or whatever else it is in, and its name there."""

from __future__ import annotations

import re
from collections.abc import Collection

SEPARATOR = "::"
# A file below a folder with the separator in its name.
_FILE = re.compile(r"::[^:]*/[^/:]*\.\w+\Z")
# The end of a file name; a version such as "v1.2" has none.
_EXTENSION = re.compile(r"[^/]\.[A-Za-z]\w*\Z")


def split_key(key: str, path: object = None) -> tuple[str, str]:
    """The place of a record and its name there; the name is empty where the record stands for the whole place.

    Args:
        key: ``place::name``, ``place``, or ``place#2`` of a second record of a whole file.
        path: The place that is stored with the record, in ``metadata.path``. A path may have ``::`` in it, and so may a
            name; without a path the first one ends the place.

    >>> split_key("src/a.cpp::Table::find"), split_key("old::src/a.py::f", "old::src/a.py"), split_key("a.md#2", "a.md")
    (('src/a.cpp', 'Table::find'), ('old::src/a.py', 'f'), ('a.md', '#2'))
    """
    if isinstance(path, str) and path and key.startswith(path):
        rest = key[len(path) :]
        if not rest or rest.startswith((SEPARATOR, "#")):
            return path, rest.removeprefix(SEPARATOR)
    place, _, name = key.partition(SEPARATOR)
    return place, name


def split_among(key: str, keys: Collection[str]) -> tuple[str, str]:
    """:func:`split_key` by the keys of all records, where files have records of their own.

    >>> split_among("old::src/a.cpp::Table::find", {"old::src/a.cpp"}), split_among("src/a.cpp::Table::find", ())
    (('old::src/a.cpp', 'Table::find'), ('src/a.cpp', 'Table::find'))
    """
    end = key.find(SEPARATOR)
    while end >= 0:
        if key[:end] in keys:
            return key[:end], key[end + len(SEPARATOR) :]
        end = key.find(SEPARATOR, end + len(SEPARATOR))
    place, name = split_key(key)
    # After a file's name, what looks like a path is a heading: "README.md::src/util.py".
    return (key, "") if key in keys and _FILE.search(key) and not _EXTENSION.search(place) else (place, name)
