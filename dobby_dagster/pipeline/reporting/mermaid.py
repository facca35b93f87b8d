"""Edges as a flowchart in the language of Mermaid: https://mermaid.js.org/syntax/flowchart.html."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dobby_dagster.domain.code_graph import Edge, FoundBy
from dobby_dagster.domain.printable import printable, shortened

MAX_LABEL = 120
_PLAIN = frozenset(" ./:_-,()")


def flowchart(node: str, edges: Iterable[Edge]) -> Iterator[str]:
    """The lines of a flowchart; an arrow of what only a name says is dotted.

    Args:
        node: What it is about, which is drawn thicker.
        edges: Each is one arrow.
    """
    names: dict[str, str] = {}
    yield "flowchart LR"
    yield from _node(node, names)
    yield f"  style {names[node]} stroke-width:3px"
    for edge in edges:
        yield from _node(edge.start, names)
        yield from _node(edge.end, names)
        arrow = "-.->" if edge.found_by is FoundBy.NAME else "-->"
        yield f"  {names[edge.start]} {arrow}|{edge.kind.value}| {names[edge.end]}"


def label(text: str) -> str:
    """``text`` in quotes, in which only letters, digits and a few marks stand for themselves.

    >>> label('a.py::f<"x">')
    '"a.py::f#60;#34;x#34;#62;"'
    """
    short = shortened(printable(text), MAX_LABEL)
    return '"' + "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in short) + '"'


def _node(node: str, names: dict[str, str]) -> Iterator[str]:
    """The line that declares ``node``, the first time."""
    if node not in names:
        names[node] = f"n{len(names)}"
        yield f"  {names[node]}[{label(node)}]"
