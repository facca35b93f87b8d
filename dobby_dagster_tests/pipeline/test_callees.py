"""Callees first: what a function calls is summarised before it, told to the model, and brings it back when it changes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.code_graph import Edge, EdgeKind, FoundBy
from dobby_dagster.domain.records import Record
from dobby_dagster.domain.scope import BatchId, Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.states import CALLEES_CHANGED
from dobby_dagster.domain.summaries import CALLEES, Recipe
from dobby_dagster.ingest.ingestion import ingest
from dobby_dagster.pipeline.callees.callee_context import CERTAINTY, callee_context
from dobby_dagster.pipeline.callees.calls import Calls
from dobby_dagster.pipeline.callees.outdated_callers import redo_outdated
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger import code_graph
from dobby_dagster.store.ledger.chunk import Chunk
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.file_tree import tree
from dobby_dagster_tests.helpers.pipeline_run import PROMPT, RECIPE, entries, run

TELLING = Recipe(PROMPT.name, PROMPT.text, "fake", "0", {CALLEES: 3})
A, B, C = "def zero(n):\n    return 1", "def first(n):\n    return zero(n)", "def after(n):\n    return first(n)"
D = "def alone(n):\n    return 4"
# How many words of what it reads the engine says: of a caller only the name of its callee, or all that there is.
FEW, ALL = 3, 99
SOURCE = SourceSettings()
World = tuple[CozoStore, Path]


def write(root: Path, *functions: str) -> None:
    (root / "m.py").write_text("\n\n\n".join(functions) + "\n")


def taken(engine: FakeEngine) -> list[str]:
    """The functions that were inferred since this was asked last, sorted; one that was inferred twice is there twice."""
    names = [name for name, times in map(_named, engine.asked.items()) for _ in range(times)]
    engine.asked = {}
    return sorted(names)


def _named(asked: tuple[str, int]) -> tuple[str, int]:
    return asked[0].rpartition("def ")[2].partition("(")[0], asked[1]


def rounds(store: CozoStore, engine: FakeEngine, recipe: Recipe = TELLING, size: int = 20) -> list[list[str]]:
    """Run until nothing comes back: what each round inferred."""
    source = store.source(SOURCE)
    found: list[list[str]] = []
    while True:
        plan(store, source, size, callees_first=recipe.callees > 0)
        redo_outdated(store, source, recipe)
        run(store, engine, recipe=recipe)
        if not (inferred := taken(engine)):
            assert {entry["state"] for entry in entries(store, recipe).values()} <= {"completed", "failed"}
            return found
        found.append(inferred)


def texts(store: CozoStore) -> dict[str, str]:
    return {key: entry["summary"] for key, entry in entries(store, TELLING).items()}


@pytest.fixture
def world(tmp_path: Path, any_store: CozoStore) -> World:
    root = tree(tmp_path, {"src/m.py": ""}) / "src"
    write(root, C, B, A, D)
    ingest(any_store, [root])
    return any_store, root


def test_callees_are_summarised_first_and_told_to_their_callers(world: World) -> None:
    store, _ = world
    engine = FakeEngine()
    run(store, engine, recipe=TELLING)
    asked = list(engine.asked)
    assert list(engine.asked.values()) == [1, 1, 1, 1]
    assert set(asked[:2]) == {A, D}
    assert asked[2] == f"Calls:\n- zero: It says def zero(n): return 1 indeed.\n\n{B}"
    assert asked[3] == f"Calls:\n- first: It says Calls: - zero: It says def indeed.\n\n{C}"
    taken(engine)
    assert rounds(store, engine) == []


def test_what_is_cut_into_several_batches_is_inferred_once(world: World) -> None:
    store, _ = world
    assert rounds(store, FakeEngine(words=ALL), size=1) == [["after", "alone", "first", "zero"]]


def test_callees_are_in_earlier_batches_but_a_priority_wins(any_store: CozoStore) -> None:
    any_store.records.put_changed([Record(f"a::{n}", n, "a", priority=int(n == "x")) for n in "vwxyz"], "a")
    ends = [("a::v", "a::w"), ("a::w", "a::z"), ("a::x", "a::y")]
    any_store.graph.replace("a", [Edge(start, EdgeKind.CALLS, end, FoundBy.NAME, 1.0) for start, end in ends])
    source = any_store.source(SOURCE)
    batches = plan(any_store, source, 1, callees_first=True).batches
    members = [any_store.states.members(Scope(TELLING.id, BatchId(batch.id))) for batch in batches]
    assert "".join(member.version.key[-1] for [member] in members) == "xzwvy"


def test_all_calls_are_read_page_by_page(any_store: CozoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_graph, "PAGE", 2)
    made = [Edge(f"a::{n // 3}", EdgeKind.CALLS, f"a::{n}", FoundBy.NAME, n / 10) for n in range(10)]
    others = [Edge("a", EdgeKind.CONTAINS, f"a::{n}", FoundBy.GRAMMAR, 1.0) for n in range(5)]
    any_store.graph.replace("a", [*others, *made])
    assert list(any_store.graph.calls(0.3)) == made[3:]


def test_without_the_setting_nothing_is_told_and_fingerprints_are_as_before(world: World) -> None:
    store, _ = world
    engine = FakeEngine()
    run(store, engine)
    assert sorted(engine.asked) == sorted([A, B, C, D])
    assert redo_outdated(store, store.source(SOURCE), RECIPE) == {}
    summary = entries(store)["src/m.py::first"]
    known = store.versions.known(store.source(SOURCE), ["src/m.py::first"])["src/m.py::first"]
    assert summary["fingerprint"] == RECIPE.fingerprint(known.content_hash, "python")
    former = Recipe("summary@1", "In {language}:\n\n{content}", "model", "0" * 64, {"max_new_tokens": 80})
    assert former.id == "f464464aa411ed7f"
    assert former.fingerprint("1" * 64, "python") == "fa24a212b5d3c4e757628e42099fb786432ead44d752a8765af0fa65afdac63a"


def test_an_edit_brings_back_callers_only_as_far_as_summaries_change(world: World) -> None:
    store, root = world
    engine = FakeEngine(words=FEW)
    assert rounds(store, engine) == [["after", "alone", "first", "zero"]]
    write(root, C, B, A.replace("return 1", "return 2"), D)
    ingest(store, [root])
    assert rounds(store, engine) == [["zero"]], "its summary is the same"
    write(root, C, B, A.replace("(n)", "(m)"), D)
    ingest(store, [root])
    assert rounds(store, engine) == [["zero"], ["first"]], "what is said of first is the same"


def test_an_edit_brings_back_all_callers_of_what_changes(world: World) -> None:
    store, root = world
    engine = FakeEngine(words=ALL)
    rounds(store, engine)
    write(root, C, B, A.replace("return 1", "return 2"), D)
    ingest(store, [root])
    assert rounds(store, engine) == [["zero"], ["first"], ["after"]]
    history = store.states.history("record", "src/m.py::after")
    assert CALLEES_CHANGED in [event["reason"] for event in history]


def test_an_edge_that_disappears_brings_its_caller_back(world: World) -> None:
    store, root = world
    engine = FakeEngine()
    rounds(store, engine)
    write(root, C, B, D)
    ingest(store, [root])
    assert rounds(store, engine) == [["first"], ["after"]]
    write(root, C, B, A, D)
    ingest(store, [root])
    assert rounds(store, engine) == [["first"], ["after"]], "zero has its former summary"


def test_functions_that_call_each_other_are_told_nothing_of_each_other(world: World) -> None:
    store, root = world
    write(
        root, "def even(n):\n    return odd(n)", "def odd(n):\n    return even(n) or odd(n)", "def use(n):\n    odd(n)"
    )
    ingest(store, [root])
    engine = FakeEngine(words=ALL)
    run(store, engine, recipe=TELLING)
    assert sum("Calls:" in each for each in engine.asked) == 1
    taken(engine)
    assert rounds(store, engine) == []


def test_a_run_that_ends_between_is_continued(world: World) -> None:
    store, root = world
    engine = FakeEngine(words=ALL)
    rounds(store, engine)
    write(root, C, B, A.replace("return 1", "return 2"), D)
    ingest(store, [root])

    def end(chunk: Chunk) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(store, engine, before_commit=end, recipe=TELLING)
    assert redo_outdated(store, store.source(SOURCE), TELLING) == {}, "callers wait for zero"
    taken(engine)
    run(store, engine, recipe=TELLING)
    assert redo_outdated(store, store.source(SOURCE), TELLING) != {}
    with pytest.raises(KeyboardInterrupt):
        run(store, engine, before_commit=end, recipe=TELLING)
    assert rounds(store, engine)[-1] == ["after"]
    other = FakeEngine(words=ALL)
    before = texts(store)
    store.upkeep.redo("record", TELLING.id, list(before))
    rounds(store, other)
    assert texts(store) == before


def test_a_callee_that_fails_is_not_told(world: World) -> None:
    store, root = world
    write(root, B, A.replace("1", "'FAIL'"))
    ingest(store, [root])
    engine = FakeEngine()
    run(store, engine, recipe=TELLING)
    assert B in engine.asked


def test_only_the_most_certain_are_told() -> None:
    found = [("a::f", 0.7), ("a::g", 0.9), ("a::h", 1.0)]
    edges = [Edge("a::x", EdgeKind.CALLS, end, FoundBy.NAME, sure) for end, sure in found]
    callees = Calls.of(edge for edge in edges if edge.certainty >= CERTAINTY).callees["a::x"]
    assert callees == ["a::h", "a::g"]
    assert callee_context([(key, "S.") for key in callees], 1) == "Calls:\n- h: S."
    assert len(callee_context([("a::f", "word " * 100)], 1)) < 200


NAMES = "abcdef"
GRAPHS = st.fixed_dictionaries(
    {name: st.tuples(st.integers(0, 3), st.sets(st.sampled_from(NAMES), max_size=3)) for name in NAMES}
)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(GRAPHS, min_size=2, max_size=3), st.sampled_from([FEW, 8, ALL]), st.sampled_from([1, 2, 20]))
def test_after_any_edits_all_is_as_if_it_were_summarised_at_once(
    edits: list[dict[str, tuple[int, set[str]]]], words: int, size: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "src"
        root.mkdir()
        stores = [CozoStore.open(DatabaseSettings(url=f"sqlite:///{folder}/{name}.db")) for name in ("one", "new")]
        for edit in edits:
            write(root, *(_function(name, *what) for name, what in edit.items()))
            ingest(stores[0], [root])
            rounds(stores[0], FakeEngine(words=words), size=size)
            assert stores[0].audit.examine() == []
        ingest(stores[1], [root])
        assert [len(each) for each in rounds(stores[1], FakeEngine(words=words))] == [len(set(edits[-1]))]
        assert texts(stores[0]) == texts(stores[1])


def _function(name: str, number: int, callees: set[str]) -> str:
    return f"def do_{name}(n):\n    return [{', '.join([str(number), *(f'do_{one}(n)' for one in sorted(callees))])}]"
