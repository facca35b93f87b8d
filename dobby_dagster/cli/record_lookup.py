"""From what a person types to the key of a record."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.printable import shell_word
from dobby_dagster.pipeline.reporting.record_lookup import find_key
from dobby_dagster.store.cozoscript.storable import storable_text

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened


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
        SourceError: There is none, or more than one; the hint names some, or up to three similar ones.
    """
    key = typed(key)
    if use.store.reports.state_of(use.relation, key, None) is not None:
        return key  # its relation may be gone
    try:
        source = use.source
    except SourceError as error:
        raise SourceError(f"there is no record '{key}' in '{use.relation}'", hint=str(error)) from error
    return find_key(use.store, source, key, f"see {use.command('list')}", shell_word)
