"""Parses text into a syntax tree, and walks it in linear time with the comments above each node.

The walk keeps a node's parents and siblings itself: tree-sitter searches for them from the root each time, which is
quadratic for deep trees and for long runs of comments.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

# Ordinary code takes a twentieth of these; hostile text, or text of another language, would take unlimited time.
MIN_STEPS, MAX_STEPS = 2_000, 30_000
BYTES_A_STEP = 20
SECONDS, BYTES_A_SECOND = 1.0, 200_000  # CPU time


@dataclass(slots=True)
class Level:
    """A node on the path from the root.

    Attributes:
        node: The tree-sitter node.
        above: The comments and attributes between it and the code before it.
        before: The row in which that code ends, from 0; -1 if there is none.
    """

    node: Any
    above: list[Any] = field(default_factory=list)
    before: int = -1


@lru_cache(maxsize=32)
def _parser(grammar: str) -> Any:
    from tree_sitter_language_pack import get_parser

    return get_parser(grammar)


def parse(grammar: str, data: bytes) -> Any | None:
    """The syntax tree of ``data``; None if parsing takes many times the steps, memory or time of ordinary code."""
    parser = _parser(grammar)
    left = min(MIN_STEPS + len(data) // BYTES_A_STEP, MAX_STEPS)
    end = time.thread_time() + SECONDS + len(data) / BYTES_A_SECOND

    def is_over_limit(offset: int, has_error: bool) -> bool:
        nonlocal left
        left -= 1
        return left < 0 or time.thread_time() > end

    try:
        return parser.parse(lambda offset, point: data[offset : offset + 65_536], progress_callback=is_over_limit)
    except ValueError:
        return None
    finally:
        parser.reset()  # else the next text would be parsed as the rest of an abandoned one


def walk(tree: Any) -> Iterator[list[Level]]:
    """The path from the root to each named node, in the order of the text; always the same list, updated in place."""
    cursor = tree.walk()
    path = [Level(cursor.node)]
    while path:
        if path[-1].node.is_named:
            yield path
        if cursor.goto_first_child():
            path.append(Level(cursor.node))
            continue
        while path:
            last = path.pop()
            if cursor.goto_next_sibling():
                path.append(_after(last, cursor.node))
                break
            cursor.goto_parent()


def is_comment(node: Any) -> bool:
    """Whether the node is a comment or attribute of what follows it; Rust's ``//!`` is one of what encloses it."""
    kind = node.type
    return ("comment" in kind and node.child_by_field_name("inner") is None) or kind == "attribute_item"


def _after(last: Level, node: Any) -> Level:
    if is_comment(last.node):
        last.above.append(last.node)
        return Level(node, last.above, last.before)
    swallowed = _comments_at_end(last.node)
    return Level(node, swallowed, swallowed[0].start_point[0] - 1 if swallowed else _last_row(last.node))


def _comments_at_end(node: Any) -> list[Any]:
    """Comments after a node that the grammar makes part of it, as Kotlin's grammar does with the package header."""
    count = node.child_count
    if count < 2 or "comment" in node.type or not is_comment(node.child(count - 1)):
        return []
    children = node.children
    first = count - 1
    while first > 1 and is_comment(children[first - 1]):
        first -= 1
    if children[first].start_point[0] <= _last_row(children[first - 1]):
        first += 1
    return list(children[first:])


def _last_row(node: Any) -> int:
    """The row in which a node ends; a line feed at its end counts to that row."""
    row, column = node.end_point
    return int(row - 1 if column == 0 and row > node.start_point[0] else row)
