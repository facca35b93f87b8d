"""From what a person types to the key of a record."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

from dobby_dagster.domain.errors import DobbyError, SourceError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import shell_word
from dobby_dagster.store.cozoscript.storable import storable_text

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened

# A misspelt key is compared with at most this many keys.
NEAR_KEYS = 20_000
PAGE = 5_000
# Keys in an error about a part of several, at most.
NAMED = 5


def typed(key: str) -> str:
    r"""``key``, of a command line, as an ingestion writes it: bytes that are not UTF-8 are escapes.

    >>> typed("caf\udce9.py::é")
    'caf\\xe9.py::é'
    """
    try:
        return os.fsencode(key).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # of no command line
        return storable_text(key)


def found_key(use: Opened, key: str) -> str:
    """The one key that is ``key``, else begins with it, else contains it.

    Raises:
        SourceError: There is none, or more than one; the hint names some, or a similar one.
    """
    key = typed(key)
    message = f"there is no record '{key}' in '{use.relation}'"
    try:
        if use.store.reports.state_of(use.relation, key, None) is not None or _has_row(use, key):
            return key
    except SourceError as error:
        raise SourceError(message, hint=str(error)) from error
    found: list[str] = []
    known: list[str] = []
    for page in use.source.key_pages(PAGE):
        found += [each for each in page if key and key in each]
        known += page[: NEAR_KEYS - len(known)]
    beginning = [each for each in found if each.startswith(key)]
    found = beginning or found
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(shell_word(each) for each in found[:NAMED]) + ", …" * (len(found) > NAMED)
        raise SourceError(f"'{key}' is part of the keys of {counted(len(found), 'record')}", hint=f"choose one: {some}")
    near = difflib.get_close_matches(key, known, n=1)
    raise SourceError(message, hint=f"did you mean '{near[0]}'?" if near else f"see {use.command('list')}")


def _has_row(use: Opened, key: str) -> bool:
    try:
        return bool(use.source.get([key]))
    except DobbyError:
        raise
    except Exception:  # text that the column's type can't hold is no row's key
        return False
