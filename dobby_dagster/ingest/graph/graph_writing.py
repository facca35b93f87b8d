"""Stores the code graph of a source tree."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from dobby_dagster.domain.code_graph import OUTSIDE, Edge
from dobby_dagster.ingest.deletion import is_below
from dobby_dagster.ingest.graph.code_files import CodeFile
from dobby_dagster.ingest.graph.edges import edges_of, folders_of, nodes_of
from dobby_dagster.ingest.tree_records import SourceTree
from dobby_dagster.store.ledger.code_graph import CodeGraph, EdgeChanges


def write_graph(graph: CodeGraph, tree: SourceTree, kept: Collection[str], stored: Mapping[str, str]) -> EdgeChanges:
    """Make the edges of ``tree`` those between its records as they are now.

    Args:
        graph: Where they are stored.
        tree: All of its records were read.
        kept: The keys of those that are stored.
        stored: The keys of records of an earlier ingestion that are still stored, with their files.
    """
    unread = {key: place for key, place in stored.items() if is_below(key, tree.unread)} if tree.unread else {}
    files = [*tree.code, *(CodeFile(place) for place in sorted(set(unread.values())))]
    edges = edges_of(files, tree.prefix, kept)
    return graph.replace(tree.origin, [*edges, *_of_unread(graph, tree, kept, unread)])


def _of_unread(graph: CodeGraph, tree: SourceTree, kept: Collection[str], unread: Mapping[str, str]) -> Iterator[Edge]:
    """The edges of files that could not be read this time: as they were, where both ends are still there."""
    if not unread:
        return
    places = set(unread.values())
    places |= {folder for place in places for folder in folders_of(place, tree.prefix)}
    nodes = nodes_of(tree.code, tree.prefix, kept) | set(unread) | places
    former = {*unread, *places}
    for edge in (*graph.edges_from(former), *graph.edges_to(former)):
        if edge.start in nodes and (edge.end in nodes or edge.end.startswith(OUTSIDE)):
            yield edge
