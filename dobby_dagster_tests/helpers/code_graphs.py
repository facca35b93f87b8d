"""The code graph of files that are written from their texts."""

from __future__ import annotations

from pathlib import Path

from dobby_dagster.domain.code_graph import Edge, EdgeKind
from dobby_dagster.ingest.graph.edges import edges_of
from dobby_dagster.ingest.tree_records import SourceTree
from dobby_dagster_tests.helpers.file_tree import tree


def graph_of(folder: Path, files: dict[str, str]) -> list[Edge]:
    """The edges of a tree named ``t``."""
    found = SourceTree(tree(folder / "t", files), str(folder / "t"), "t")
    list(found.records())
    return list(edges_of(found.code, found.prefix, found.keys))


def arrows(edges: list[Edge], kind: EdgeKind) -> set[str]:
    """``start -> end`` of each edge of a kind, without the tree's name."""
    return {f"{edge.start.removeprefix('t/')} -> {edge.end.removeprefix('t/')}" for edge in edges if edge.kind is kind}
