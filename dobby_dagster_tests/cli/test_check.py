"""``dobby check``: a source tree as it is now, beside the summaries that are stored."""

import os
from pathlib import Path

import pytest

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run

WHERE = ("--database", "sqlite:///code.db")


def summarized() -> None:
    store = CozoStore.open(DatabaseSettings(url="sqlite:///code.db"))
    store.recipes.remember(RECIPE)
    run(store, FakeEngine())
    store.close()


@pytest.fixture
def tree(dobby: Dobby) -> Path:
    """A tree of two files, all of whose records have a summary."""
    src = Path("src")
    (src / "inner").mkdir(parents=True)
    (src / "a.py").write_text("def one():\n    return 1\n\n\ndef two():\n    return 2\n")
    (src / "inner" / "b.py").write_text("def three():\n    return 3\n")
    (src / "logo.png").write_bytes(b"\0")
    assert dobby("ingest", "src", *WHERE).code == 0
    summarized()
    return src


def test_a_tree_whose_summaries_are_all_current(dobby: Dobby, tree: Path) -> None:
    for paths in ((), ("src",), ("src/inner",), ("src/a.py",), ("src/a.py", "src/inner/b.py"), (tree.resolve(),)):
        answer = dobby("check", *paths, *WHERE)
        assert (answer.code, answer.out) == (0, ""), answer
    assert dobby("check", *WHERE).err == "3 records with a current summary, 0 without\n"


def test_what_was_changed_added_removed_or_never_summarised(dobby: Dobby, tree: Path) -> None:
    (tree / "a.py").write_text("def one():\n    return 1 + 1\n\n\ndef new():\n    return 0\n")
    answer = dobby("check", *WHERE)
    assert answer.code == 1
    assert answer.out.splitlines() == [
        "src/a.py:1: one: changed since its summary",
        "src/a.py:5: new: no summary",
        "src/a.py: two: no longer in the tree",
    ]
    assert dobby("check", "src/inner", *WHERE).code == 0
    found = dobby("check", "src/a.py", *WHERE, "--json")
    assert found.code == 1
    assert (found.json["current"], len(found.json["gaps"])) == (0, 3)
    assert dobby("ingest", "src", *WHERE).code == 0
    assert dobby("check", *WHERE).code == 1, "ingested, and not summarised yet"
    summarized()
    assert dobby("check", *WHERE).code == 0


def test_a_failed_record_is_a_gap_with_its_error(dobby: Dobby, tree: Path) -> None:
    (tree / "a.py").write_text("def one():\n    return 'FAIL'\n")
    dobby("ingest", "src", *WHERE)
    summarized()
    assert "src/a.py:1: one: failed: " in dobby("check", *WHERE).out


def test_files_that_an_ingestion_leaves_out_are_no_gap(dobby: Dobby, tree: Path) -> None:
    assert dobby("check", "src/logo.png", *WHERE).code == 0
    (tree / "test_a.py").write_text("def test():\n    return 1\n")
    assert dobby("check", *WHERE).code == 1
    assert dobby("check", *WHERE, "--exclude", "test_*").code == 0
    assert dobby("check", "src/test_a.py", *WHERE, "--exclude", "test_*").code == 0


def test_what_is_left_out_is_not_taken_for_a_tree_that_is_gone(dobby: Dobby, tree: Path) -> None:
    (tree / "broken.py").symlink_to("nowhere")
    Path(os.fsdecode(b"src/\xe9.png")).write_bytes(b"\0")
    answer = dobby("check", *WHERE)
    assert (answer.code, answer.err) == (0, "3 records with a current summary, 0 without\n")


def test_a_file_name_with_a_line_end_is_one_line(dobby: Dobby, tree: Path) -> None:
    (tree / "x\nsrc.py").write_text("def four():\n    return 4\n")
    assert dobby("check", *WHERE).out == "src/x\\x0asrc.py:1: four: no summary\n"


def test_a_deleted_file_whose_name_is_there_twice_does_not_change_the_name_of_the_tree(
    dobby: Dobby, tree: Path
) -> None:
    twins = [tree / folder / "a.py" for folder in ("A", "z")]
    for twin in twins:
        twin.parent.mkdir()
        twin.write_text("def four():\n    return 4\n")
    assert dobby("ingest", "src", *WHERE).code == 0
    summarized()
    for twin in twins:
        twin.unlink()
    assert dobby("check", *WHERE).out.splitlines() == [
        "src/A/a.py: four: no longer in the tree",
        "src/z/a.py: four: no longer in the tree",
    ]


def test_a_part_of_a_tree_is_read_by_the_rules_of_the_whole(dobby: Dobby, tree: Path) -> None:
    (tree / ".gitignore").write_text("*.gen.py\ngone/\n")
    for name in ("inner/x.gen.py", "gone/y.py", "inner/test_a.py"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text("def new():\n    return 1\n")
    for part in ("src/inner", "src/inner/x.gen.py", "src/gone", "src/gone/y.py", "src/inner/test_a.py"):
        answer = dobby("check", part, *WHERE, "--exclude", "inner/test_*")
        assert (answer.code, answer.out) == (0, ""), part
    found = dobby("check", "src/gone/y.py", "src/inner", tree / "inner" / "b.py", *WHERE, "--json").json
    assert (found["current"], [gap["key"] for gap in found["gaps"]]) == (1, ["src/inner/test_a.py::new"])
    assert set(found["left_out"].values()) == {"ignored by .gitignore"}


def test_a_tree_under_a_name_of_its_own(dobby: Dobby, tree: Path) -> None:
    assert dobby("ingest", "src", "--name", "lib/core", "-d", "sqlite:///named.db").code == 0
    answer = dobby("check", "src/inner/b.py", "-d", "sqlite:///named.db")
    assert answer.out == "src/inner/b.py:1: three: no summary\n"
    assert dobby("check", "-d", "sqlite:///named.db", "--json").json["gaps"][-1] == {
        "key": "lib/core/inner/b.py::three", "path": "lib/core/inner/b.py", "file": "src/inner/b.py", "line": 1,
        "reason": "no summary",
    }  # fmt: skip


def test_files_outside_of_every_tree_are_named_and_the_others_checked(dobby: Dobby, tree: Path) -> None:
    outside = ["setup.py", *(f"tool{i}.py" for i in range(5))]
    for name in outside:
        Path(name).write_text("def setup():\n    return 1\n")
    answer = dobby("check", "setup.py", "src/a.py", *outside[1:], *WHERE)
    assert (answer.code, answer.out) == (0, ""), answer
    assert answer.err.splitlines() == [
        "not checked, in no ingested tree: setup.py, tool0.py, tool1.py and 3 more",
        "2 records with a current summary, 0 without",
    ]
    assert dobby("check", "src/a.py", "setup.py", *WHERE, "--json").json["outside"] == ["setup.py"]
    (tree / "a.py").write_text("def one():\n    return 0\n")
    answer = dobby("check", "setup.py", "src/a.py", *WHERE)
    assert answer.code == 1
    assert answer.out.splitlines()[0] == "src/a.py:1: one: changed since its summary"
    assert answer.err.splitlines()[0] == "not checked, in no ingested tree: setup.py"
    none = dobby("check", "src/a.py", "setup.py", "none.py", *WHERE)
    assert (none.code, none.out) == (1, "")
    assert "there is no file or folder 'none.py'" in none.err


def test_paths_can_be_opened_from_where_one_stands(
    dobby: Dobby, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = f"sqlite:///{Path('code.db').resolve()}"
    (tree / "inner" / "b.py").write_text("def three():\n    return 0\n")
    src = tree.resolve()
    (src.parent / "link").symlink_to(src)
    expected = {
        (src.parent, ()): "src/inner/b.py", (src.parent, ("src",)): "src/inner/b.py",
        (src.parent, ("./src/inner/b.py",)): "src/inner/b.py", (src.parent, ("link",)): "link/inner/b.py",
        (src, ()): "inner/b.py", (src, (".",)): "inner/b.py", (src / "inner", ("..",)): "../inner/b.py",
        (src / "inner", ("b.py", ".")): "b.py", (src / "inner", ()): f"{src}/inner/b.py",
        (src, (src,)): f"{src}/inner/b.py",
    }  # fmt: skip
    for (folder, paths), shown in expected.items():
        monkeypatch.chdir(folder)
        lines = dobby("check", *paths, "--database", database).out.splitlines()
        assert lines == [f"{shown}:1: three: changed since its summary"], (folder, paths)


def test_what_was_never_ingested_is_an_error(dobby: Dobby, tree: Path) -> None:
    Path("other.py").write_text("x = 1\n")
    answer = dobby("check", "other.py", *WHERE)
    assert (answer.code, answer.out) == (1, "")
    assert "'other.py' was never ingested (ingested: " in answer.err
    CozoStore.open(DatabaseSettings(url="sqlite:///empty.db")).close()
    assert "no source tree was ingested" in dobby("check", "-d", "sqlite:///empty.db").err
    assert "there is no file or folder 'none'" in dobby("check", "none", *WHERE).err


def test_a_tree_that_was_ingested_elsewhere_is_known_by_its_name(dobby: Dobby, tree: Path) -> None:
    Path("other.py").write_text("def other():\n    return 0\n")
    assert dobby("ingest", "other.py", *WHERE).code == 0
    summarized()
    Path("elsewhere").mkdir()
    tree.rename("elsewhere/src")
    without = dobby("check", *WHERE)
    assert (without.code, without.out) == (1, ""), "what was not checked does not pass"
    assert f"not checked: {tree.resolve()}: it is no longer there" in without.err
    assert "1 record with a current summary, 0 without" in without.err
    for paths in (
        ("elsewhere/src",),
        ("elsewhere/src/inner", "elsewhere/src/a.py"),
        ("elsewhere/src/a.py", "other.py"),
    ):
        answer = dobby("check", *paths, *WHERE)
        assert (answer.code, answer.out) == (0, ""), answer
    Path("elsewhere/src/a.py").write_text("def one():\n    return 2\n")
    assert dobby("check", "elsewhere/src", *WHERE).out.splitlines() == [
        "elsewhere/src/a.py:1: one: changed since its summary",
        "elsewhere/src/a.py: two: no longer in the tree",
    ]
