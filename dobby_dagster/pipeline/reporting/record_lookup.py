"""From a part of a key to the key of a record."""

from __future__ import annotations

import re
from collections.abc import Callable

from dobby_dagster.domain.errors import DobbyError, SourceError
from dobby_dagster.domain.near_keys import near_keys
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import printable
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source

# A misspelt key is compared with at most this many keys.
NEAR_KEYS = 100_000
PAGE = 5_000
# Keys in an error about a part of several, at most.
NAMED = 5
# Of one of several records with one name.
_NUMBER = re.compile(r"#\d+\Z")


def find_key(
    store: CozoStore, source: Source, key: str, otherwise: str, shown: Callable[[str], str] = printable
) -> str:
    """The one key that is ``key``, with invisible characters escaped or not; else ends with it as a whole name.

    Else begins with it, else contains it.

    Args:
        store: Where records are known, deleted ones too.
        source: Where records are.
        key: Text that can be stored.
        otherwise: The hint where no key is similar.
        shown: How a hint writes a key.

    Raises:
        SourceError: There is none, or more than one; the hint names some, or up to three similar ones.
    """
    relation = source.settings.relation
    message = f"there is no record '{key}' in '{relation}'"
    try:
        if store.reports.state_of(relation, key, None) is not None or _has_row(source, key):
            return key
    except SourceError as error:
        raise SourceError(message, hint=str(error)) from error
    found: list[str] = []
    known: list[str] = []
    for page in source.key_pages(PAGE):
        found += [each for each in page if key and (key in each or key in printable(each))]
        known += page[: NEAR_KEYS - len(known)]
    whole = [each for each in found if printable(each) == key]
    named = [each for each in found if _is_name(key, each)]
    beginning = [each for each in found if each.startswith(key)]
    found = whole or named or beginning or found
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(shown(each) for each in found[:NAMED]) + ", …" * (len(found) > NAMED)
        raise SourceError(f"'{key}' is part of the keys of {counted(len(found), 'record')}", hint=f"choose one: {some}")
    near = " or ".join(f"'{each}'" for each in near_keys(key, known))
    raise SourceError(message, hint=f"did you mean {near}?" if near else otherwise)


def namesakes(source: Source, key: str) -> list[str]:
    """The other records whose names differ from that of ``key`` by a number only: overloads and their implementation.

    At most a page of them, such as ``a.py::f`` and ``a.py::f#3`` of ``a.py::f#2``.
    """
    name = _NUMBER.sub("", key)
    if name != key and not _has_row(source, name):
        return []  # The number is the author's, as in the title of an issue.
    numbered = [each for each in next(source.key_pages(PAGE, f"{name}#"), []) if _NUMBER.sub("", each) == name]
    return [
        *([name] if name != key else []),
        *(each for each in sorted(numbered, key=lambda each: (len(each), each)) if each != key),
    ]


def _is_name(name: str, key: str) -> bool:
    """Whether ``key`` ends with ``name``, which a file or folder precedes.

    >>> _is_name("Client.send", "http/client.py::Client.send"), _is_name("send", "http/client.py::Client.send")
    (True, False)
    """
    return key.endswith((f"::{name}", f"/{name}"))


def _has_row(source: Source, key: str) -> bool:
    try:
        return bool(source.get([key]))
    except DobbyError:
        raise
    except Exception:  # text that the column's type can't hold is no row's key
        return False
