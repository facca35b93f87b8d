"""The records as a tree of places: folders, files, and what is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dobby_dagster.site.entry import Entry, Level


@dataclass
class Node:
    """A place that has a page.

    Attributes:
        segments: The names on the way to it; none for what is above all.
        own: The records that stand for all of it.
        parts: The records in it, in the order of their lines, else of their keys.
        children: The places in it, by name.
        levels: How many records in it and below are of each level, its own included.
        is_root: Whether it is the first page.
    """

    segments: tuple[str, ...]
    own: list[Entry] = field(default_factory=list)
    parts: list[Entry] = field(default_factory=list)
    children: dict[str, Node] = field(default_factory=dict)
    levels: Counter[Level] = field(default_factory=Counter)
    is_root: bool = False

    @property
    def page(self) -> tuple[str, ...]:
        """The names that its page is called by."""
        return () if self.is_root else self.segments

    def walk(self) -> Iterator[Node]:
        """This place and all below it, each before what is in it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children.values()))


def record_tree(entries: Iterable[Entry]) -> Node:
    """The tree of ``entries``.

    A record that stands for nothing but itself is a part of the place above it. A folder in which there is one place
    only is left out, so that the number of places is at most twice that of the records.
    """
    root = Node(())
    for entry in entries:
        node = root
        for depth, segment in enumerate(entry.place, 1):
            node = node.children.get(segment) or node.children.setdefault(segment, Node(entry.place[:depth]))
        (node.parts if entry.name else node.own).append(entry)
    for node in reversed(list(root.walk())):
        _settle(node)
    if len(root.children) == 1 and not root.parts:
        [root] = root.children.values()
    root.is_root = True
    return root


def _settle(node: Node) -> None:
    """Finish ``node``, whose children are finished."""
    kept: dict[str, Node] = {}
    for name, child in sorted(node.children.items()):
        if not (child.parts or child.children or any(entry.is_place for entry in child.own)):
            node.parts += child.own
        elif len(child.children) == 1 and not child.parts and not child.own:
            [(below, only)] = child.children.items()
            kept[f"{name}/{below}"] = only
        else:
            kept[name] = child
    node.children = kept
    node.parts.sort(key=lambda entry: (entry.line is None, entry.line or 0, entry.key))
    for entry in (*node.own, *node.parts):
        node.levels[entry.level] += 1
    for child in kept.values():
        node.levels += child.levels
