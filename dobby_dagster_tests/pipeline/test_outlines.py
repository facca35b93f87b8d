"""Summaries of files and packages: derived from below, and no further than something has changed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.ingest.ingestion import ingest
from dobby_dagster.pipeline.outlines.derivation import Derived, derive_above, derive_due
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.file_tree import tree
from dobby_dagster_tests.helpers.pipeline_run import PROMPT, RECIPE, entries, run

OTHER = Recipe(PROMPT.name, PROMPT.text, "another", "1", {})
FILES = {
    "src/a.py": '"""Adds numbers."""\n\ndef f(x):\n    return x + 1\n\nclass A:\n    def m(self):\n        return f(2)\n',
    "src/deep/b.py": "def g(y):\n    return y * 2\n",
    "src/deep/c.py": "def h(z):\n    return z * 3\n",
    "src/other/d.py": "def k(w):\n    return w * 4\n",
    "src/notes.txt": "Just a text of a few words.\n",
}
ROOM = 2_000
PARTS = 7  # functions, methods, classes and texts


def settled(store: CozoStore, engine: FakeEngine, recipe: Recipe = RECIPE) -> list[list[str]]:
    """Run until nothing is left: what each round inferred."""
    source, rounds = store.source(SourceSettings()), []
    while True:
        derive_due(store, source, recipe.id, ROOM)
        before = dict(engine.asked)
        run(store, engine, recipe=recipe)
        rounds.append(
            [content for content, times in engine.asked.items() for _ in range(times - before.get(content, 0))]
        )
        if not derive_due(store, source, recipe.id, ROOM).written:
            return rounds


@pytest.fixture
def world(tmp_path: Path, any_store: CozoStore) -> tuple[CozoStore, FakeEngine, Path]:
    root = tree(tmp_path, FILES) / "src"
    ingest(any_store, [root])
    return any_store, FakeEngine(), root


World = tuple[CozoStore, FakeEngine, Path]


def test_each_level_follows_the_one_below_it(world: World) -> None:
    store, engine, _ = world
    rounds = settled(store, engine)
    assert [len(each) for each in rounds] == [PARTS, 4, 2, 1]
    found = entries(store)
    assert {key for key, entry in found.items() if entry["state"] != "completed"} == set()
    assert store.source(SourceSettings()).get(["src/a.py"])["src/a.py"].content == (
        '"""Adds numbers."""\n'
        "def f(x): It says def f(x): return x + 1 indeed.\n"
        "class A: It says class A: def m(self): ... indeed.\n"
        "    def m(self): It says def m(self): return f(2) indeed."
    )
    assert store.source(SourceSettings()).get(["src"])["src"].content == (
        "# Package src\n"
        'a.py  # It says """Adds numbers.""" def f(x): It says indeed.\n'
        "deep/  # It says # Package deep b.py # It indeed.\n"
        "notes.txt  # It says Just a text of a few indeed.\n"
        "other/  # It says # Package other d.py # It indeed."
    )
    assert settled(store, engine) == [[]]


def test_an_edit_infers_what_is_on_its_path(world: World) -> None:
    store, _, root = world
    engine = FakeEngine(words=9)
    settled(store, engine)
    (root / "deep/b.py").write_text("def gg(y):\n    return y * 2\n")
    ingest(store, [root])
    rounds = settled(store, engine)
    assert [[content.partition(":")[0].partition("  #")[0] for content in each] for each in rounds] == [
        ["def gg(y)"], ["def gg(y)"], ["# Package deep\nb.py"], ["# Package src\na.py"],
    ]  # fmt: skip


def test_the_same_summary_ends_the_work_above(world: World) -> None:
    store, engine, root = world
    settled(store, engine)
    (root / "deep/b.py").write_text("def g(y):\n    return y * 2 # twice the number\n")
    ingest(store, [root])
    assert [len(each) for each in settled(store, engine)] == [1]  # the fake's summary says only the first words
    (root / "a.py").write_text(FILES["src/a.py"] + "\n\ndef late():\n    return 0\n")
    ingest(store, [root])
    assert [len(each) for each in settled(store, engine)] == [1, 1]  # the file's summary is its first words, too


def test_deleted_parts_files_and_folders(world: World) -> None:
    store, engine, root = world
    settled(store, engine)
    (root / "a.py").write_text('"""Adds numbers."""\n\ndef f(x):\n    return x + 1\n')
    (root / "other/d.py").unlink()
    done = ingest(store, [root])
    assert done.deleted == 3
    rounds = settled(store, engine)
    assert [len(each) for each in rounds] == [1, 1]  # the file, then the top: nothing else has changed
    found = {key for key, entry in entries(store).items() if entry["state"] == "completed"}
    assert found == {
        "src", "src/a.py", "src/a.py::f", "src/deep", "src/deep/b.py", "src/deep/b.py::g", "src/deep/c.py",
        "src/deep/c.py::h", "src/notes.txt",
    }  # fmt: skip


def test_a_file_loses_and_gets_parts(world: World) -> None:
    store, engine, root = world
    settled(store, engine)
    (root / "deep/b.py").write_text("x = 1\n")
    ingest(store, [root])
    settled(store, engine)
    assert store.source(SourceSettings()).get(["src/deep/b.py"])["src/deep/b.py"].content == "x = 1"
    (root / "deep/b.py").write_text(FILES["src/deep/b.py"])
    ingest(store, [root])
    settled(store, engine)
    record = store.source(SourceSettings()).get(["src/deep/b.py"])["src/deep/b.py"]
    assert (record.content, record.metadata["derived"]) == (
        "def g(y): It says def g(y): return y * 2 indeed.",
        True,
    )


def test_two_recipes_in_turns_infer_nothing_again(world: World) -> None:
    store, engine, _ = world
    settled(store, engine)
    other = FakeEngine()
    assert sum(map(len, settled(store, other, OTHER))) == PARTS + 7
    assert sum(map(len, settled(store, engine))) == 0
    assert {entry["state"] for entry in entries(store).values()} == {"completed"}


def test_failed_parts_are_left_out_of_what_is_said(tmp_path: Path, sqlite_store: CozoStore) -> None:
    root = tree(tmp_path, {"src/a.py": "def f():\n    return 'FAIL'\n\ndef g():\n    return 1\n"}) / "src"
    ingest(sqlite_store, [root])
    settled(sqlite_store, FakeEngine())
    content = sqlite_store.source(SourceSettings()).get(["src/a.py"])["src/a.py"].content
    assert content == "def f()\ndef g(): It says def g(): return 1 indeed."


def test_an_outline_waits_for_all_that_is_below(world: World) -> None:
    store, _, root = world
    engine = FakeEngine(words=9)
    source = store.source(SourceSettings())
    settled(store, engine)
    (root / "deep/b.py").write_text("def gg(y):\n    return y * 2\n")
    (root / "other/d.py").write_text("def kk(w):\n    return w * 4\n")
    ingest(store, [root])
    assert derive_above(store, source, RECIPE.id, ["src/deep"], ROOM) == Derived(waiting=1)
    assert [len(each) for each in settled(store, engine)] == [2, 2, 2, 1]


def test_a_records_own_summary_again(world: World) -> None:
    store, engine, _ = world
    source = store.source(SourceSettings())
    settled(store, engine)
    assert derive_above(store, source, RECIPE.id, ["src/a.py::f"], ROOM) == Derived(unchanged=1)
    assert store.outlines.due(RECIPE.id) == []


@pytest.mark.parametrize("write", ["commit", "make_due"])
def test_what_is_killed_at_a_write_is_done_later(world: World, write: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, engine, _ = world
    kept: Callable[..., None] = getattr(store.outlines, write)
    monkeypatch.setattr(store.outlines, write, lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    run(store, engine)
    with pytest.raises(KeyboardInterrupt):
        derive_above(store, store.source(SourceSettings()), RECIPE.id, ["src/a.py::f"], ROOM)
        derive_due(store, store.source(SourceSettings()), RECIPE.id, ROOM)
    monkeypatch.setattr(store.outlines, write, kept)
    settled(store, engine)
    assert set(engine.asked.values()) == {1}


def test_an_outline_without_parts_is_not_derived(world: World) -> None:
    store, engine, _ = world
    store.records.remove(["src/deep/b.py::g"])
    settled(store, engine)
    assert "src/deep/b.py" not in store.source(SourceSettings()).get(["src/deep/b.py"])
