"""A declaration, and how its name is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a node declares.

    Attributes:
        kind: ``function``, ``class``, or ``scope`` for what only lends its name; a scope's may be empty.
        body: The node that a class's outline leaves out.
        method: A function that belongs to a class or an object, or a scope whose functions do.
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
