"""A syntax tree, walked in linear time with what stands above each node.

A node's parent and siblings are kept on the way: tree-sitter looks for them from the root each time they are asked
for, which is quadratic for deep trees and for long rows of comments.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

# Code takes a twentieth of these; text that is made to be slow, or is of another language, has no bound of its own.
MIN_STEPS, MAX_STEPS = 2_000, 30_000
BYTES_A_STEP = 20
SECONDS, BYTES_A_SECOND = 1.0, 200_000  # of the processor


@dataclass(slots=True)
class Level:
    """A node on the way from the root.

    Attributes:
        above: The comments and attributes between it and what stands before it.
        before: The row in which that ends, from 0; -1 where nothing stands before it.
    """

    node: Any
    above: list[Any] = field(default_factory=list)
    before: int = -1


@lru_cache(maxsize=32)
def _parser(grammar: str) -> Any:
    from tree_sitter_language_pack import get_parser

    return get_parser(grammar)


def parse(grammar: str, data: bytes) -> Any | None:
    """The syntax tree of ``data``; None where it takes many times the steps, the memory or the time that code takes."""
    parser = _parser(grammar)
    left = min(MIN_STEPS + len(data) // BYTES_A_STEP, MAX_STEPS)
    end = time.thread_time() + SECONDS + len(data) / BYTES_A_SECOND

    def goes_on(offset: int, has_error: bool) -> bool:
        nonlocal left
        left -= 1
        return left < 0 or time.thread_time() > end

    try:
        return parser.parse(lambda offset, point: data[offset : offset + 65_536], progress_callback=goes_on)
    except ValueError:
        return None
    finally:
        parser.reset()  # else the next text would be read as the rest of one that was given up


def walk(tree: Any) -> Iterator[list[Level]]:
    """The way from the root to each named node, in the order of the text. It is one list, which changes."""
    cursor = tree.walk()
    way = [Level(cursor.node)]
    while way:
        if way[-1].node.is_named:
            yield way
        if cursor.goto_first_child():
            way.append(Level(cursor.node))
            continue
        while way:
            last = way.pop()
            if cursor.goto_next_sibling():
                way.append(_after(last, cursor.node))
                break
            cursor.goto_parent()


def is_comment(node: Any) -> bool:
    """Whether the node belongs to what stands below it; Rust's ``//!`` belongs to what it stands in."""
    kind = node.type
    return ("comment" in kind and node.child_by_field_name("inner") is None) or kind == "attribute_item"


def _after(last: Level, node: Any) -> Level:
    if is_comment(last.node):
        last.above.append(last.node)
        return Level(node, last.above, last.before)
    swallowed = _comments_at_end(last.node)
    return Level(node, swallowed, swallowed[0].start_point[0] - 1 if swallowed else _last_row(last.node))


def _comments_at_end(node: Any) -> list[Any]:
    """Comments that a grammar puts at the end of a node, as Kotlin's into the package's head, though they follow it."""
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
    """The row in which a node ends; one that ends with a line's end is not of the next row."""
    row, column = node.end_point
    return int(row - 1 if column == 0 and row > node.start_point[0] else row)
