"""A tree that was ingested at another place before."""

import os
import shutil
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.records import Record
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.ingest.ingestion import ingest
from dobby_dagster.ingest.moved_tree import Move, is_gone
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.cozo_server import running_server
from dobby_dagster_tests.helpers.file_tree import tree

FILES = {
    "a.py": "import b\n\n\ndef one():\n    return b.two()\n",
    "b.py": "def two():\n    return 2\n",
    "in/c.md": "# C\n",
}


def refused(asked: object) -> bool:
    raise AssertionError(asked)


def test_a_tree_whose_former_place_is_gone_keeps_its_records(store: CozoStore, tmp_path: Path) -> None:
    one, two = tree(tmp_path / "1/src", FILES), tmp_path / "2/src"
    before = ingest(store, [one])
    source = store.source(SourceSettings())
    plan(store, source, 100)
    outlines = [each.key for each in store.outlines.of(str(one))]
    shutil.copytree(one, two)
    shutil.rmtree(one.parent)
    (two / "b.py").unlink()
    (two / "new.py").write_text("def three():\n    return 3\n")
    done = ingest(store, [two], permits=refused if store.connection.driver else lambda asked: True)
    assert done.moved == {str(two): [str(one)]}
    assert (before.written, done.written, done.unchanged, done.deleted) == (3, 1, 2, 1)
    assert list(store.records.origins()) == [str(two)]
    assert [each.key for each in store.outlines.of(str(two))] == sorted({*outlines, "src/new.py"} - {"src/b.py"})
    assert store.outlines.of(str(one)) == []
    assert {edge.start for edge in store.graph.edges_to(["src/b.py::two"])} == set()
    changes = plan(store, source, 100)
    assert (changes.new, changes.changed, changes.deleted) == (1, 0, 1)
    assert ingest(store, [two]).moved == {}


def test_a_file_may_move_too(sqlite_store: CozoStore, tmp_path: Path) -> None:
    one = tree(tmp_path, {"1/notes.md": "# Notes\n"}) / "1/notes.md"
    ingest(sqlite_store, [one])
    one.rename(tmp_path / "notes.md")
    done = ingest(sqlite_store, [tmp_path / "notes.md"], permits=refused)
    assert (done.unchanged, done.moved) == (1, {str(tmp_path / "notes.md"): [str(one)]})


def test_of_two_trees_that_are_there_neither_takes_the_others_records(sqlite_store: CozoStore, tmp_path: Path) -> None:
    one, two = tree(tmp_path / "1/src", FILES), tree(tmp_path / "2/src", FILES)
    ingest(sqlite_store, [one])
    with pytest.raises(SourceError, match=rf"taken by a record of {one}.*another --name.*if that tree is gone"):
        ingest(sqlite_store, [two])
    assert list(sqlite_store.records.origins()) == [str(one)]


def test_a_tree_of_other_files_needs_a_permission(sqlite_store: CozoStore, tmp_path: Path) -> None:
    one, two = tree(tmp_path / "1/src", FILES), tree(tmp_path / "2/src", {"a.py": "def other(): pass\n"})
    ingest(sqlite_store, [one])
    shutil.rmtree(one)
    asked: list[object] = []

    def ask(move: object) -> bool:
        asked.append(move)
        return False

    with pytest.raises(SourceError, match=rf"'src' were ingested at '{one}'.*0 of 3 compared files are the same"):
        ingest(sqlite_store, [two], permits=ask)
    assert asked == [Move("src", str(two), str(one), equal=0, files=3, kept=0, records=3)]
    assert list(sqlite_store.records.origins()) == [str(one)]
    assert ingest(sqlite_store, [two]).deleted == 3


def test_a_tree_without_any_of_the_files_is_another_one(sqlite_store: CozoStore, tmp_path: Path) -> None:
    one, two = tree(tmp_path / "1/src", FILES), tree(tmp_path / "2/src", {"z.py": "def other(): pass\n"})
    ingest(sqlite_store, [one])
    shutil.rmtree(one)
    assert ingest(sqlite_store, [two], permits=refused).moved == {}
    assert list(sqlite_store.records.origins()) == [str(one), str(two)]


def test_on_a_server_the_former_place_may_be_another_machines(tmp_path: Path) -> None:
    one, two = tree(tmp_path / "1/src", FILES), tmp_path / "2/src"
    with running_server() as server:
        store = CozoStore.open(DatabaseSettings(url=server.url))
        ingest(store, [one])
        shutil.move(one, two)
        with pytest.raises(SourceError, match=r"not on this machine.*another machine may.*--yes"):
            ingest(store, [two], permits=lambda move: False)
        assert list(store.records.origins()) == [str(one)]
        assert ingest(store, [two]).moved == {str(two): [str(one)]}
        store.close()


def test_a_place_that_can_not_be_looked_at_is_not_gone(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert not is_gone(str(link)), "a disk that is not mounted, say"
    assert is_gone(str(tmp_path / "no"))
    assert is_gone(str(tmp_path / "file" / "below"))
    if os.getuid():
        (tmp_path / "shut").mkdir(mode=0)
        assert not is_gone(str(tmp_path / "shut" / "in"))
    assert not is_gone(f"{tmp_path}/{'x' * 300}"), "a name that no file can have"


def test_another_project_with_the_same_file_names_is_refused(sqlite_store: CozoStore, tmp_path: Path) -> None:
    one = tree(tmp_path / "disk/app", {"main.py": "def one(): return 1\n", "util.py": "def u(): return 1\n"})
    two = tree(tmp_path / "other/app", {"main.py": "def x(): return 'x'\n", "util.py": "def y(): return 'y'\n"})
    ingest(sqlite_store, [one])
    shutil.rmtree(tmp_path / "disk")  # as an unmounted disk
    keys = sqlite_store.records.keys_of(str(one))
    with pytest.raises(SourceError, match="0 of 2 compared files are the same, 2 of 2 records would be deleted"):
        ingest(sqlite_store, [two], permits=lambda move: False)
    assert sqlite_store.records.keys_of(str(one)) == keys
    assert list(sqlite_store.records.origins()) == [str(one)]


def test_a_single_file_that_differs_needs_a_permission(sqlite_store: CozoStore, tmp_path: Path) -> None:
    one = tree(tmp_path / "1", {"README.md": "# Alpha\n\nx\n"}) / "README.md"
    two = tree(tmp_path / "2", {"README.md": "# Alpha\n\nother\n"}) / "README.md"
    ingest(sqlite_store, [one])
    one.unlink()
    with pytest.raises(SourceError, match="0 of 1 compared file"):
        ingest(sqlite_store, [two], permits=lambda move: False)
    assert list(sqlite_store.records.origins()) == [str(one)]


def test_a_move_that_deletes_most_records_needs_a_permission(sqlite_store: CozoStore, tmp_path: Path) -> None:
    functions = "".join(f"def f{i}():\n    return {i}\n\n\n" for i in range(9))
    one = tree(tmp_path / "1/src", FILES | {"many.py": functions})
    ingest(sqlite_store, [one])
    two = tmp_path / "2/src"
    two.parent.mkdir()
    one.rename(two)
    (two / "many.py").unlink()
    with pytest.raises(SourceError, match="3 of 4 compared files are the same, 9 of 12 records would be deleted"):
        ingest(sqlite_store, [two], permits=lambda move: False)
    assert list(sqlite_store.records.origins()) == [str(one)]


def test_a_source_that_is_no_path_is_never_taken_over(sqlite_store: CozoStore, tmp_path: Path) -> None:
    about = {"path": "src/a.py"}
    sqlite_store.records.put_changed([Record("src/a.py::mine", "handmade", "jira", metadata=about)], "jira")
    root = tree(tmp_path / "src", {"a.py": "def two():\n    return 2\n"})
    assert ingest(sqlite_store, [root], permits=refused).moved == {}
    assert list(sqlite_store.records.origins()) == [str(root), "jira"]
    (root / "b.py").write_text("def mine():\n    return 3\n")
    sqlite_store.records.put_changed([Record("src/b.py::mine", "handmade", "jira", metadata=about)], "jira")
    with pytest.raises(SourceError, match="is taken by a record of jira") as raised:
        ingest(sqlite_store, [root], permits=refused)
    assert raised.value.hint == "give this one another --name", "what is no tree can't be gone"


def test_a_link_at_the_former_place_blocks_neither_path(sqlite_store: CozoStore, tmp_path: Path) -> None:
    one, two = tree(tmp_path / "1/src", FILES), tmp_path / "2/src"
    ingest(sqlite_store, [one])
    two.parent.mkdir()
    one.rename(two)
    one.symlink_to(two)
    assert ingest(sqlite_store, [one], permits=refused).moved == {str(two): [str(one)]}
    assert ingest(sqlite_store, [two], permits=refused).unchanged == 3


def test_two_trees_may_become_one(sqlite_store: CozoStore, tmp_path: Path) -> None:
    one = tree(tmp_path / "1/src", {"a.py": FILES["a.py"]})
    two = tree(tmp_path / "2/src", {"b.py": FILES["b.py"]})
    ingest(sqlite_store, [one, two])
    both = tree(tmp_path / "3/src", FILES)
    shutil.rmtree(one)
    shutil.rmtree(two)
    assert ingest(sqlite_store, [both], permits=refused).moved == {str(both): [str(one), str(two)]}


def test_only_the_escape_of_a_byte_hides_whether_a_place_is_gone(tmp_path: Path) -> None:
    assert is_gone(rf"{tmp_path}/C:\xampp")
    assert not is_gone(rf"{tmp_path}/caf\xe9")
