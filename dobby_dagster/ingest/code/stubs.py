"""Definitions of Python that only a type checker reads: another one of that name is run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dobby_dagster.ingest.code.declaration import text_of
from dobby_dagster.ingest.code.syntax_tree import Level

_OVERLOAD = re.compile(r"@ ?(?:\w+\.)?overload")
_TYPE_CHECKING = re.compile(r"\(?(?:\w+\.)?TYPE_CHECKING\)?")


def is_overload(language: str, path: Sequence[Level], data: bytes) -> bool:
    """Whether the definition at the end of ``path`` is decorated with ``overload``."""
    if language != "python" or len(path) < 2 or path[-2].node.type != "decorated_definition":
        return False
    decorators = (child for child in path[-2].node.children if child.type == "decorator")
    return any(_OVERLOAD.fullmatch(text_of(each, data)) for each in decorators)


def is_type_checking(language: str, path: Sequence[Level], data: bytes) -> bool:
    """Whether the node at the end of ``path`` is the block of an ``if TYPE_CHECKING:``."""
    if language != "python" or len(path) < 2 or path[-1].node.type != "block" or path[-2].node.type != "if_statement":
        return False
    condition = path[-2].node.child_by_field_name("condition")
    return condition is not None and bool(_TYPE_CHECKING.fullmatch(text_of(condition, data)))
