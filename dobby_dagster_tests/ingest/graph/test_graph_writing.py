"""The graph in the database follows the trees that are ingested."""

import os
from pathlib import Path

import pytest

from dobby_dagster.domain.code_graph import Edge, EdgeKind
from dobby_dagster.ingest.ingestion import Ingested, ingest
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.code_graph import EdgeChanges
from dobby_dagster.store.ledger.relations import EDGE
from dobby_dagster_tests.helpers.code_graphs import arrows
from dobby_dagster_tests.helpers.file_tree import tree

FILES = {"a.py": "from b import g\ndef f(): g()\n", "b.py": "def g(): h()\ndef h(): pass\n"}
ALL = {"a.py::f -> b.py::g", "b.py::g -> b.py::h"}


def stored(store: CozoStore) -> list[Edge]:
    starts = {row[0] for row in store.connection.run(f"?[start] := *{EDGE.name}{{start}}").rows}
    return list(store.graph.edges_from(starts))


def calls(store: CozoStore) -> set[str]:
    return arrows(stored(store), EdgeKind.CALLS)


def ingested(store: CozoStore, root: Path, limit: int | None = None) -> Ingested:
    return ingest(store, [root], limit=limit)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tree(tmp_path / "t", FILES)


def test_ingesting_again_writes_only_what_changed(sqlite_store: CozoStore, root: Path) -> None:
    first = ingested(sqlite_store, root).edges
    assert (first.removed, first.kept) == (0, 0)
    assert calls(sqlite_store) == ALL
    assert ingested(sqlite_store, root).edges == EdgeChanges(kept=first.added)
    (root / "b.py").write_text("def g(): pass\ndef h(): g()\n")
    assert ingested(sqlite_store, root).edges == EdgeChanges(1, 1, first.added - 1)
    assert calls(sqlite_store) == {"a.py::f -> b.py::g", "b.py::h -> b.py::g"}


def test_a_renamed_and_a_removed_file_take_their_edges_along(sqlite_store: CozoStore, root: Path) -> None:
    ingested(sqlite_store, root)
    (root / "b.py").rename(root / "c.py")
    (root / "a.py").write_text("from c import g\ndef f(): g()\n")
    ingested(sqlite_store, root)
    assert calls(sqlite_store) == {"a.py::f -> c.py::g", "c.py::g -> c.py::h"}
    assert not [edge for edge in stored(sqlite_store) if "b.py" in edge.start + edge.end]
    for file in root.iterdir():
        file.unlink()
    assert ingested(sqlite_store, root).deleted == 3
    assert sqlite_store.graph.is_empty


def test_a_graph_that_is_missing_is_filled_though_no_record_changed(sqlite_store: CozoStore, root: Path) -> None:
    added = ingested(sqlite_store, root).edges.added
    sqlite_store.graph.replace(str(root), [])  # as in a database of an earlier version
    again = ingested(sqlite_store, root)
    assert (again.written, again.unchanged, again.edges) == (0, 3, EdgeChanges(added=added))


def test_a_sample_has_the_edges_between_its_records_only(sqlite_store: CozoStore, root: Path) -> None:
    ingested(sqlite_store, root, limit=1)
    [key] = sqlite_store.records.keys_of(str(root))
    found = stored(sqlite_store)
    assert arrows(found, EdgeKind.CONTAINS) == {"t -> " + key[2:6], f"{key[2:6]} -> {key[2:]}"}
    assert arrows(found, EdgeKind.CALLS) == set()
    ingested(sqlite_store, root)
    assert calls(sqlite_store) == ALL


def test_two_trees_have_their_own_edges(sqlite_store: CozoStore, root: Path, tmp_path: Path) -> None:
    ingested(sqlite_store, root)
    other = tree(tmp_path / "u", {"a.py": "def g(): f()\ndef f(): pass\n"})
    ingested(sqlite_store, other)
    assert calls(sqlite_store) == ALL | {"u/a.py::g -> u/a.py::f"}
    (other / "a.py").write_text("x = 1\n")
    ingested(sqlite_store, other)
    assert calls(sqlite_store) == ALL


def test_what_can_not_be_read_this_time_keeps_its_edges(
    sqlite_store: CozoStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingested(sqlite_store, root)
    start = os.open

    def failing_open(path: Path, flags: int, *mode: int) -> int:
        if Path(path).name == "b.py":
            raise OSError(5, "Input/output error")
        return start(path, flags, *mode)

    before = stored(sqlite_store)
    monkeypatch.setattr(os, "open", failing_open)
    ingested(sqlite_store, root)
    monkeypatch.undo()
    assert set(stored(sqlite_store)) == set(before)


def test_a_text_that_a_grammar_can_not_read_has_a_place_and_no_calls(sqlite_store: CozoStore, tmp_path: Path) -> None:
    root = tree(tmp_path / "t", {"notes.txt": "f()\n", "bad.py": "def ((((\n", "caf.md": "# A\ntext\n"})
    ingested(sqlite_store, root)
    assert calls(sqlite_store) == set()
    assert "t -> bad.py" in arrows(stored(sqlite_store), EdgeKind.CONTAINS)
