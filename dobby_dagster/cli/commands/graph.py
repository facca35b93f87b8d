"""``dobby graph``: what contains, calls and imports a record, and what it calls and imports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import out, print_json
from dobby_dagster.cli.record_lookup import found_key, typed
from dobby_dagster.domain.code_graph import OUTSIDE
from dobby_dagster.domain.errors import SettingsError, SourceError
from dobby_dagster.domain.printable import printable, shortened
from dobby_dagster.domain.settings import OWN_RELATION

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened
    from dobby_dagster.pipeline.reporting.graph_neighbourhood import Direction, Near, Neighbourhood

# Neighbours of each node: in the terminal, and in JSON.
WIDTH, WIDTH_OF_JSON = 20, 500
SUMMARY = 120  # characters of a summary
TITLES = {
    "parts": "parts", "callers": "called by", "callees": "calls", "imports": "imports", "imported_by": "imported by",
}  # fmt: skip


@options.takes("database", "relation")
def graph(
    given: options.Given,
    key: Annotated[str, typer.Argument(help="A record, file or folder; any part that only one key has is enough.")],
    depth: Annotated[int, typer.Option(min=1, max=6, help="How many calls or imports to follow.")] = 1,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a flowchart in the language of Mermaid.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show what calls and imports a record, what it calls and imports, what contains it, and its parts.

    Example: dobby graph tempfile.py::mkstemp --depth 2
    """
    from dobby_dagster.pipeline.reporting.graph_neighbourhood import edges_of, neighbourhood
    from dobby_dagster.pipeline.reporting.mermaid import flowchart
    from dobby_dagster.pipeline.reporting.record_lookup import namesakes

    if mermaid and as_json:
        raise SettingsError("--mermaid and --json exclude each other", hint="give one of them")
    use = opened(given)
    found = neighbourhood(use.store.graph, _node(use, key), depth, WIDTH_OF_JSON if as_json else WIDTH)
    if mermaid:
        for line in flowchart(found.node, edges_of(found)):
            out.print(line, soft_wrap=True)
        return
    summaries = _summaries(use, found)
    others = namesakes(use.source, found.node)
    if as_json:
        around = {name: _as_json(way, summaries) for name, way in found.around.items()}
        print_json(
            {
                "key": found.node,
                "summary": summaries.get(found.node),
                "within": found.within,
                "same_name": others,
                **around,
            }
        )
    else:
        _show(found, summaries, others)


def _summaries(use: Opened, found: Neighbourhood) -> dict[str, str]:
    """The summaries of the records that are shown."""
    nodes = dict.fromkeys([found.node, *(near.node for way in found.around.values() for near in way.nearest)])
    rows = use.store.reports.rows_at(use.source, use.recipe(), list(nodes))
    return {row["key"]: row["summary"] for row in rows if row["summary"]}


def _node(use: Opened, key: str) -> str:
    """The node of the graph that is ``key``, a package outside of the tree too, else the record that it names.

    Raises:
        SourceError: There is no such record, or no graph.
    """
    if use.relation != OWN_RELATION:
        raise SourceError(
            f"'{use.relation}' has no code graph",
            hint=f"only source trees have one: dobby ingest PATH, then {use.command('graph', key)} --relation record",
        )
    if use.store.graph.is_empty:
        raise SourceError("the database has no code graph", hint="run dobby ingest again with the same paths")
    stored, named = use.store.graph, typed(key)
    for node in (named, f"{OUTSIDE}{named}"):
        if any(True for edges in (stored.edges_to([node]), stored.edges_from([node])) for _ in edges):
            return node
    return found_key(use, key)


def _as_json(way: Direction, summaries: Mapping[str, str]) -> dict[str, Any]:
    edges = [
        {
            "key": near.node, "summary": summaries.get(near.node), "through": _other(near), "depth": near.depth,
            "found_by": near.edge.found_by, "certainty": near.edge.certainty,
        }
        for near in way.nearest
    ]  # fmt: skip
    return {"edges": edges, "left_out": sum(way.more.values())}


def _other(near: Near) -> str:
    """The end of the edge that is nearer to the node of the command."""
    return near.edge.start if near.edge.end == near.node else near.edge.end


def _show(found: Neighbourhood, summaries: Mapping[str, str], others: Sequence[str]) -> None:
    out.print(printable(found.node), soft_wrap=True)
    for line in _summary_line(summaries.get(found.node), 1):
        out.print(line, soft_wrap=True)
    if found.within:
        out.print(f"  within {', '.join(map(printable, found.within))}", soft_wrap=True)
    if others:
        more = f", … and {len(others) - WIDTH:,} more" if len(others) > WIDTH else ""
        out.print(f"  of the same name: {', '.join(map(printable, others[:WIDTH]))}{more}", soft_wrap=True)
    for name, way in found.around.items():
        if way.nearest:
            out.print(f"\n{TITLES[name]}:")
            for line in _lines(found.node, way, summaries, sure=name == "parts"):
                out.print(line, soft_wrap=True)
    if not any(way.nearest for way in found.around.values()):
        out.print("  no calls and no imports are known")


def _summary_line(summary: str | None, depth: int) -> list[str]:
    return [f"{'  ' * depth}“{printable(shortened(summary, SUMMARY))}”"] if summary else []


def _lines(node: str, way: Direction, summaries: Mapping[str, str], *, sure: bool) -> list[str]:
    """Each node with its summary, and a line where some were left out, below those that are shown."""
    lines: list[str] = []
    open_nodes = [node]
    for near in way.nearest:
        lines += _closed(open_nodes, near.depth, way)
        how = (
            "" if sure else f"  {near.edge.found_by.value} {near.edge.certainty:.2f}{', shown elsewhere' * near.again}"
        )
        lines.append(f"{'  ' * near.depth}{printable(near.node)}{how}")
        if not near.again:
            lines += _summary_line(summaries.get(near.node), near.depth + 1)
        open_nodes.append("" if near.again else near.node)
    return lines + _closed(open_nodes, 0, way)


def _closed(open_nodes: list[str], depth: int, way: Direction) -> list[str]:
    """Leave the nodes that are at ``depth`` or deeper."""
    lines = []
    while len(open_nodes) > depth:
        at = len(open_nodes)
        if more := way.more.get(open_nodes.pop()):
            lines.append(f"{'  ' * at}… and {more:,} more")
    return lines
