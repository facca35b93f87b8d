"""What a name stands for where nothing but the name says it: the definitions of the tree that are called so."""

from __future__ import annotations

from collections.abc import Sequence

from dobby_dagster.ingest.graph.certainties import (
    BY_NAME,
    COMMON,
    MAX_CANDIDATES,
    METHOD_BY_NAME,
    SEVERAL_BY_NAME,
    Way,
)
from dobby_dagster.ingest.graph.definitions import Definition, Definitions
from dobby_dagster.ingest.graph.found import Found
from dobby_dagster.ingest.graph.visibility import TREE_WIDE


def by_name(definitions: Definitions, language: str, name: str) -> Found | None:
    """What a bare name stands for, in a language whose names are visible in the whole tree."""
    if language not in TREE_WIDE:
        return None
    return _few(definitions.named(language, name), BY_NAME, {"function", "class"}, {"method"})


def method_by_name(definitions: Definitions, language: str, name: str) -> Found | None:
    """The methods of this name, whatever has them, if the name is not a common one."""
    if name in COMMON or len(name) < 3:
        return None
    return _few(definitions.named(language, name), METHOD_BY_NAME, {"method"}, set())


def _few(there: Sequence[Definition], way: Way, kinds: set[str], more: set[str]) -> Found | None:
    """Those of ``kinds``, else of ``more``, if they are few."""
    for wanted in (kinds, more):
        found = tuple(each for each in there[: 10 * MAX_CANDIDATES] if each.kind in wanted)
        if found:
            if len(found) > MAX_CANDIDATES or len(there) > 10 * MAX_CANDIDATES:
                return None
            return Found(found, way if len(found) == 1 else SEVERAL_BY_NAME)
    return None
