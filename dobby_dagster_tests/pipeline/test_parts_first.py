"""Under another model a file or folder waits for its parts: it is inferred once, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from dobby_dagster.domain.records import content_hash
from dobby_dagster.domain.scope import RunId, Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.domain.states import PARTS_FIRST
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.ingest.ingestion import ingest
from dobby_dagster.pipeline.outlines.derivation import derive_above, derive_due
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.summarization.summarizer import Summarizer
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.file_tree import tree
from dobby_dagster_tests.helpers.pipeline_run import PROMPT, RECIPE, entries, run

OTHER = Recipe(PROMPT.name, PROMPT.text, "another", "1", {})
FILES = {
    "src/a.py": '"""Adds numbers."""\n\ndef f(x):\n    return x + 1\n\ndef e(x):\n    return x - 1\n',
    "src/deep/b.py": "def g(y):\n    return y * 2\n",
    "src/other/d.py": "def k(w):\n    return w * 4\n",
}
ROOM = 2_000
PARTS, OUTLINES = 4, 6


def settled(store: CozoStore, engine: FakeEngine, recipe: Recipe = RECIPE) -> int:
    """Run as the terminal does until nothing is left: how many contents were inferred."""
    source, before = store.source(SourceSettings()), sum(engine.asked.values())
    for _ in range(20):
        plan(store, source, 20)
        derive_due(store, source, recipe.id, ROOM)
        run(store, engine, recipe=recipe)
        plan(store, source, 20)
        derived = derive_due(store, source, recipe.id, ROOM)
        if not (derived.written or derived.back or store.states.unfinished("record", recipe.id, 3)):
            return sum(engine.asked.values()) - before
    raise AssertionError("it does not end")


@pytest.fixture
def world(tmp_path: Path, sqlite_store: CozoStore) -> tuple[CozoStore, FakeEngine, Path]:
    root = tree(tmp_path, FILES) / "src"
    ingest(sqlite_store, [root])
    engine = FakeEngine()
    assert settled(sqlite_store, engine) == PARTS + OUTLINES
    return sqlite_store, engine, root


World = tuple[CozoStore, FakeEngine, Path]


def all_said(store: CozoStore, recipe: Recipe) -> bool:
    """Whether each present content has its own summary, and nothing is left to derive."""
    found = entries(store, recipe)
    return {each["state"] for each in found.values()} == {"completed"} and store.outlines.due(recipe.id) == []


def batches(store: CozoStore, engine: FakeEngine, recipe: Recipe, only: set[str]) -> None:
    """Run the members at the keys ``only`` of all unfinished batches, without deriving anything."""
    source = store.source(SourceSettings())
    with Summarizer(store, source, engine, PROMPT, recipe, 5) as summarizer:
        for batch in store.states.unfinished("record", recipe.id, 3):
            scope = Scope(recipe.id, batch, RunId("part"))
            members = [m for m in store.states.members(scope) if m.version.key in only and m.is_runnable(batch, 3)]
            for chunk in summarizer.summarize(members, scope):
                store.chunks.commit(source, chunk, scope)


def test_each_is_inferred_once_by_the_other_model(world: World) -> None:
    store, _, _ = world
    other = FakeEngine(words=9)
    assert settled(store, other, OTHER) == PARTS + OUTLINES
    assert set(other.asked.values()) == {1}
    assert all_said(store, OTHER)


def test_contents_that_both_models_lead_to_come_back(world: World) -> None:
    store, _, _ = world
    other = FakeEngine()  # says what the first said: no content changes, so no row is written
    assert settled(store, other, OTHER) == PARTS + OUTLINES
    assert all_said(store, OTHER)


def test_after_an_edit_too(world: World) -> None:
    store, _, root = world
    (root / "deep/b.py").write_text("def gg(y):\n    return y * 2\n")
    ingest(store, [root])
    assert settled(store, FakeEngine(words=9), OTHER) == PARTS + OUTLINES
    assert all_said(store, OTHER)


def test_in_turns_with_edits(world: World) -> None:
    store, engine, root = world
    settled(store, FakeEngine(words=9), OTHER)
    (root / "deep/b.py").write_text("def gg(y):\n    return y * 2\n")
    ingest(store, [root])
    assert settled(store, engine) <= 4, "the function, its file, and the folders above"
    assert all_said(store, RECIPE)


def test_parts_that_fail_are_an_outcome(world: World) -> None:
    store, _, root = world
    (root / "deep/b.py").write_text("def g(y):\n    return 'FAIL'\n")
    (root / "other/d.py").write_text("def k(w):\n    return 'EMPTY'\n")
    ingest(store, [root])
    settled(store, FakeEngine(words=9), OTHER)
    failed = {key for key, each in entries(store, OTHER).items() if each["state"] != "completed"}
    assert failed == {"src/deep/b.py::g", "src/other/d.py::k"}
    assert store.outlines.due(OTHER.id) == []


def test_a_run_that_was_killed_before_anything_was_derived_goes_on(world: World) -> None:
    store, _, _ = world
    other = FakeEngine(words=9)
    batches(store, other, OTHER, {"src", "src/a.py", "src/a.py::f"})
    assert sum(other.asked.values()) == 1
    reasons = {key: each["reason"] for key, each in entries(store, OTHER).items() if each["reason"]}
    assert reasons == {"src": PARTS_FIRST, "src/a.py": PARTS_FIRST}
    assert settled(store, other, OTHER) == PARTS + OUTLINES - 1
    assert set(other.asked.values()) == {1}
    assert all_said(store, OTHER)


def test_what_was_derived_while_a_run_left_it_out_comes_back(world: World) -> None:
    store, _, _ = world
    source, other = store.source(SourceSettings()), FakeEngine()
    parts = {key for key in entries(store, OTHER) if "::" in key}
    batches(store, other, OTHER, parts)
    batch = next(iter(store.states.unfinished("record", OTHER.id, 3)))
    with Summarizer(store, source, other, PROMPT, OTHER, 5) as summarizer:
        for name in store.states.unfinished("record", OTHER.id, 3):
            scope = Scope(OTHER.id, name, RunId("late"))
            members = [m for m in store.states.members(scope) if m.version.key == "src/a.py" and m.state is None]
            for chunk in summarizer.summarize(members, scope):
                derive_due(store, source, OTHER.id, ROOM)  # the same content: nothing is written
                store.chunks.commit(source, chunk, scope)
                batch = name
    assert store.outlines.due(OTHER.id) == ["src", "src/deep", "src/other"]
    keys = [m.version.key for m in store.states.members(Scope(OTHER.id, batch))]
    assert derive_above(store, source, OTHER.id, keys, ROOM, ["src/a.py"]).back == ["src/a.py"]
    assert settled(store, other, OTHER) == OUTLINES
    assert all_said(store, OTHER)


@pytest.mark.parametrize("write", ["outlines.commit", "versions.note"])
def test_a_derivation_that_is_killed_is_repeated(world: World, write: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _, _ = world
    other = FakeEngine()
    batches(store, other, OTHER, set(entries(store, OTHER)))
    assert sum(other.asked.values()) == PARTS
    owner, name = getattr(store, write.partition(".")[0]), write.partition(".")[2]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            derive_due(store, store.source(SourceSettings()), OTHER.id, ROOM)
    settled(store, other, OTHER)
    assert set(other.asked.values()) == {1}
    assert all_said(store, OTHER)


def test_a_file_whose_parts_are_gone_holds_up_nothing(world: World) -> None:
    store, _, _ = world
    store.records.remove(["src/deep/b.py::g"])
    before = store.source(SourceSettings()).get(["src/deep/b.py"])["src/deep/b.py"]
    settled(store, FakeEngine(words=9), OTHER)
    after = store.source(SourceSettings()).get(["src/deep/b.py"])["src/deep/b.py"]
    assert content_hash(after.content) == content_hash(before.content)
    assert all_said(store, OTHER)


def test_without_levels_nothing_waits(world: World) -> None:
    store, _, _ = world
    other, source = FakeEngine(words=9), store.source(SourceSettings())
    with Summarizer(store, source, other, PROMPT, OTHER, 5, outlines=False) as summarizer:
        for batch in store.states.unfinished("record", OTHER.id, 3):
            scope = Scope(OTHER.id, batch, RunId("run"))
            for chunk in summarizer.summarize(store.states.members(scope), scope):
                store.chunks.commit(source, chunk, scope)
    assert {each["state"] for each in entries(store, OTHER).values()} == {"completed"}
