"""A declaration, and the text of its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a node of the syntax tree declares.

    Attributes:
        kind: ``function``, ``class``, or ``scope`` for what only qualifies the names in it.
        name: As it is written; may be empty for a scope.
        body: The node of its body, which a class's outline leaves out.
        method: Whether it is a method, or a scope whose functions are methods.
    """

    kind: str
    name: str
    body: Any = None
    method: bool = False


def cut(data: bytes, begin: int, end: int) -> str:
    """The text between two offsets on one line, at most ``MAX_NAME`` bytes of it."""
    text = data[begin : min(end, begin + MAX_NAME)].decode("utf-8", "ignore")
    return " ".join(text.split())


def text_of(node: Any, data: bytes) -> str:
    """The text of a node on one line, at most ``MAX_NAME`` bytes of it."""
    return cut(data, node.start_byte, node.end_byte)
