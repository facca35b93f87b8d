"""An order of the nodes of a graph in which callees come before their callers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field


def callees_first(keys: Collection[str], edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """``keys`` in groups: each calls only what is in its own group or in an earlier one.

    A group of several is a cycle: each of its nodes reaches every other. These are the strongly connected components,
    found in linear time (Tarjan, Depth-first search and linear graph algorithms, 1972), without recursion.

    Args:
        keys: The nodes.
        edges: Caller and callee; one with an end that is not in ``keys`` doesn't count.

    Returns:
        Every key once. Groups, and the keys in them, are in the order of ``keys`` where the calls leave a choice.

    >>> callees_first(["main", "parse", "scan", "value"], [("main", "parse"), ("parse", "value"), ("value", "parse"),
    ...     ("value", "scan")])
    [['scan'], ['parse', 'value'], ['main']]
    """
    place = {key: number for number, key in enumerate(keys)}
    callees: dict[str, dict[str, None]] = {key: {} for key in place}
    for caller, callee in edges:
        if caller in place and callee in place:
            callees[caller][callee] = None
    search = _Search(callees)
    groups = [group for root in place for group in search.groups_from(root)]
    return [sorted(group, key=place.__getitem__) for group in groups]


def call_levels(groups: Iterable[Collection[str]], edges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """How many calls, of other groups, are at most between a key and one that calls none.

    Args:
        groups: As :func:`callees_first` returns them.
        edges: Caller and callee.

    >>> call_levels([["scan"], ["parse", "value"], ["main"]], [("main", "parse"), ("value", "scan"), ("main", "scan")])
    {'scan': 0, 'parse': 1, 'value': 1, 'main': 2}
    """
    callees: dict[str, list[str]] = {}
    for caller, callee in edges:
        callees.setdefault(caller, []).append(callee)
    level: dict[str, int] = {}
    for group in groups:
        below = [level[callee] for key in group for callee in callees.get(key, ()) if callee in level]
        level |= dict.fromkeys(group, max(below, default=-1) + 1)
    return level


@dataclass
class _Search:
    """The state of the depth-first search.

    Attributes:
        callees: Of each node.
        number: In which order nodes were found.
        lowest: The lowest number that is reached from a node over nodes that are in no group yet.
        waiting: Nodes that are in no group yet.
        done: Nodes that are.
    """

    callees: Mapping[str, Iterable[str]]
    number: dict[str, int] = field(default_factory=dict)
    lowest: dict[str, int] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)

    def groups_from(self, root: str) -> Iterator[list[str]]:
        """The groups of all nodes that are reached from ``root`` and are in none yet."""
        if root in self.number:
            return
        work = [(root, self._entered(root))]
        while work:
            key, left = work[-1]
            callee = next((each for each in left if self._is_new(key, each)), None)
            if callee is not None:
                work.append((callee, self._entered(callee)))
                continue
            work.pop()
            if work:
                caller = work[-1][0]
                self.lowest[caller] = min(self.lowest[caller], self.lowest[key])
            if self.lowest[key] == self.number[key]:
                yield self._group(key)

    def _entered(self, key: str) -> Iterator[str]:
        self.number[key] = self.lowest[key] = len(self.number)
        self.waiting.append(key)
        return iter(self.callees[key])

    def _is_new(self, key: str, callee: str) -> bool:
        if callee not in self.number:
            return True
        if callee not in self.done:
            self.lowest[key] = min(self.lowest[key], self.number[callee])
        return False

    def _group(self, first: str) -> list[str]:
        group = [self.waiting.pop()]
        while group[-1] != first:
            group.append(self.waiting.pop())
        self.done.update(group)
        return group
