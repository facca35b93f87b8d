"""The sensor of new records, tick by tick: what it asks for, what it says, and what a crash between its steps does."""

import json
import random
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dobby_dagster.definitions import build_definitions
from dobby_dagster.defs.automation.new_records_sensor import evaluate
from dobby_dagster.defs.automation.source_cursor import Cursor
from dobby_dagster.defs.runs.batch_runs import RANGE_END_TAG, RANGE_START_TAG, batches_of
from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.inference.recipe import recipe_for
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.records import put
from dobby_dagster_tests.helpers.world import Make, World


class SensorWorld(World):
    """The sensor between the database and the instance; Dagster's part of a tick is done step by step."""

    def __init__(self, settings: Settings, now: float = 1_000_000.0) -> None:
        super().__init__(settings)
        self.now = now
        self.cursor: str | None = None
        self.asked: dict[str, dict[str, str]] = {}

    def write(self, first: int, count: int, word: str = "x") -> None:
        put(self.store, {f"k{i:05d}": f"def f{i}(): return {word!r}" for i in range(first, first + count)})

    def tick(self) -> dg.SensorResult:
        """Evaluate only."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dobby_dagster.defs.automation.new_records_sensor.time.time", lambda: self.now)
            return evaluate(self.settings, self.store, self.instance, self.cursor)

    def apply(self, result: dg.SensorResult, steps: int = 3) -> None:
        """What Dagster does with a result, its first ``steps`` of three: partitions, runs, cursor."""
        if steps > 0:
            for request in result.dynamic_partitions_requests or []:
                self.instance.add_dynamic_partitions("record_batches", list(request.partition_keys))
        if steps > 1:
            for request in result.run_requests or []:
                self.asked.setdefault(str(request.run_key), {**request.tags, "job": request.job_name})
        if steps > 2:
            self.cursor = result.cursor

    def step(self, seconds: float = 20.0) -> dg.SensorResult:
        """A whole tick, and time goes on."""
        result = self.tick()
        self.apply(result)
        self.now += seconds
        return result

    @property
    def asked_batches(self) -> list[str]:
        return [batch for tags in self.asked.values() for batch in batches_of(tags)]


@pytest.fixture
def world(make_settings: Make) -> SensorWorld:
    made = SensorWorld(
        make_settings(pipeline__batch_size=10, automation__gather_seconds=30, dagster__partitions_per_run=4)
    )
    plan(made.store, made.store.source(made.settings.source), 10)  # the first reading of every row is a run of its own
    return made


def reason(result: dg.SensorResult) -> str:
    return result.skip_reason.skip_message or "" if result.skip_reason else ""


def test_the_first_look_is_a_run_and_it_is_asked_for_once(make_settings: Make) -> None:
    world = SensorWorld(make_settings())
    world.write(0, 3)
    first = world.tick()
    assert [request.job_name for request in first.run_requests or []] == ["plan_batches"]
    again = world.tick()
    assert [r.run_key for r in again.run_requests or []] == [r.run_key for r in first.run_requests or []]
    world.apply(first)
    world.now += 20
    waiting = world.tick()
    assert waiting.run_requests == []
    assert "next full scan in 280 s" in reason(waiting)


def test_few_rows_are_gathered_for_a_while_and_then_cut(world: SensorWorld) -> None:
    world.write(0, 3)
    first = world.step(20)
    assert "3 records waiting for a batch, gathering for another 30 s" in reason(first)
    world.write(3, 2)
    second = world.step(20)
    assert "5 records waiting" in reason(second)
    assert "another 10 s" in reason(second)
    third = world.step()
    assert world.partitions == ["batch-000001"]
    [request] = third.run_requests or []
    assert (request.tags[RANGE_START_TAG], request.tags[RANGE_END_TAG]) == ("batch-000001", "batch-000001")
    assert len(world.store.states.members(Scope("r", "batch-000001"))) == 5
    assert "0 records waiting for a batch; no new batches" in reason(world.step())


def test_whole_batches_are_cut_at_once_and_the_rest_is_gathered(world: SensorWorld) -> None:
    world.write(0, 25)
    result = world.step()
    assert world.partitions == ["batch-000001", "batch-000002"]
    assert world.asked_batches == ["batch-000001", "batch-000002"]
    assert [e.metadata["records_new"].value for e in result.asset_events if "records_new" in e.metadata] == [25]
    assert "5 records waiting" in reason(world.step())
    world.step()
    world.step()
    assert world.asked_batches == ["batch-000001", "batch-000002", "batch-000003"]


def test_runs_are_bounded_a_tick_and_in_the_queue_and_go_on_through_the_cursor(world: SensorWorld) -> None:
    world.write(0, 230)
    first = world.step()
    ranges = [(r.tags[RANGE_START_TAG][-2:], r.tags[RANGE_END_TAG][-2:]) for r in first.run_requests or []]
    assert ranges == [("01", "04"), ("05", "08"), ("09", "12"), ("13", "16")]
    for request in (first.run_requests or [])[:3]:
        world.instance.create_run_for_job(
            build_definitions(world.settings).resolve_job_def("summarize_batches"), tags=dict(request.tags)
        )
    second = world.step()
    assert [(r.tags[RANGE_START_TAG][-2:], r.tags[RANGE_END_TAG][-2:]) for r in second.run_requests or []] == [
        ("17", "20")
    ]
    world.instance.create_run_for_job(
        build_definitions(world.settings).resolve_job_def("summarize_batches"),
        tags=dict((first.run_requests or [])[3].tags),
    )
    third = world.step()
    assert third.run_requests == []
    assert "4 runs queued already" in reason(third)
    for run in world.instance.get_runs():
        world.instance.delete_run(run.run_id)
    fourth = world.step()
    assert [(r.tags[RANGE_START_TAG][-2:], r.tags[RANGE_END_TAG][-2:]) for r in fourth.run_requests or []] == [
        ("21", "23")
    ]
    assert sorted(set(world.asked_batches)) == [batch_id(n) for n in range(1, 24)]


def test_a_batch_that_is_done_or_in_a_run_is_not_asked_for(world: SensorWorld) -> None:
    world.write(0, 30)
    plan(world.store, world.store.source(world.settings.source), 10)
    recipe = recipe_for(world.settings).id
    from dobby_dagster.domain.states import COMPLETED

    members = world.store.states.members(Scope(recipe, "batch-000001"))
    world.store.states.set_states([m.version for m in members], COMPLETED, Scope(recipe, "batch-000001", "by hand"))
    job = build_definitions(world.settings).resolve_job_def("summarize_batches")
    world.instance.create_run_for_job(job, tags={"dagster/partition": "batch-000002"})
    world.step()
    assert world.asked_batches == ["batch-000003"]


@pytest.mark.slow
@hypothesis_settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000))
def test_a_crash_between_any_two_steps_loses_and_doubles_nothing(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Ticks end after any of their steps, are evaluated twice, and the clock jumps, while rows come and change."""
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("crash")
    arguments = {
        "database.url": f"sqlite:///{folder}/r.db", "pipeline.batch_size": 4, "automation.runs_per_tick": 2,
        "dagster.partitions_per_run": 2,
    }  # fmt: skip
    world = SensorWorld(load_settings(arguments, environment={}).settings)
    plan(world.store, world.store.source(world.settings.source), 4)
    written = 0
    for _ in range(12):
        if rng.random() < 0.6:
            count = rng.randint(1, 9)
            world.write(written, count)
            written += count
        if written and rng.random() < 0.3:
            world.write(rng.randrange(written), 1, f"changed {rng.random()}")
        if rng.random() < 0.1:
            world.cursor = rng.choice([None, "not a cursor", json.dumps({"database": "another", "asked": "batch-9"})])
        world.apply(world.tick(), steps=rng.randint(0, 3))
        world.now += rng.choice([1, 20, 40, -3_600])
    for _ in range(40):
        world.step(40)
        if not world.store.versions.waiting("record") and len(set(world.asked_batches)) == len(
            world.store.versions.batches()
        ):
            break
    assert world.store.versions.waiting("record") == 0
    planned = [batch.id for batch in world.store.versions.batches()]
    assert world.partitions == planned, "every batch is a partition, in order"
    assert set(world.asked_batches) == set(planned), "a run was asked for every batch"
    present = {(key, known.content_hash) for key, known in world.store.versions.known(
        world.store.source(world.settings.source), [f"k{i:05d}" for i in range(written)]
    ).items()}  # fmt: skip
    members = [m.version for batch in planned for m in world.store.states.members(Scope("r", batch))]
    assert {(v.key, v.content_hash) for v in members} >= present
    assert len({v.key for v in members}) == written


def test_a_clock_set_back_an_hour_stops_nothing(world: SensorWorld) -> None:
    world.write(0, 3)
    world.step()
    world.now -= 3_600
    world.step(40)
    world.write(3, 10)
    world.step(40)
    world.step(40)
    world.step(40)
    assert world.store.versions.waiting("record") == 0
    assert world.partitions == ["batch-000001", "batch-000002"]


def test_no_database_is_a_reason_and_not_an_error(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings()
    sensor = build_definitions(settings).resolve_sensor_def("new_records")
    context = dg.build_sensor_context(instance=dg.DagsterInstance.ephemeral())
    result = sensor(context)
    assert isinstance(result, dg.SkipReason)
    assert "there is no database at sqlite:///" in (result.skip_message or "")
    assert not (tmp_path / "records.db").exists(), "looking makes no database"


def test_a_relation_that_is_not_there_is_an_error_that_names_it(make_settings: Make) -> None:
    settings = make_settings(source__relation="nope")
    store = CozoStore.open(settings.database)
    with pytest.raises(SourceError, match="no relation 'nope'"):
        evaluate(settings, store, dg.DagsterInstance.ephemeral(), None)


def test_a_relation_without_triggers_is_compared_by_runs_every_so_often(make_settings: Make) -> None:
    settings = make_settings(
        source__relation="theirs", source__key="id", source__content="body", automation__compare_seconds=100
    )
    world = SensorWorld(settings)
    world.store.connection.run("?[id, body] <- [['a', 'x']] :create theirs {id => body}", write=True)
    assert len(world.step(20).run_requests or []) == 1
    plan(world.store, world.store.source(settings.source), 10)
    second = world.step(90)
    assert [request.job_name for request in second.run_requests or []] == ["summarize_batches"]
    third = world.step()
    assert [request.job_name for request in third.run_requests or []] == ["plan_batches"]
    assert len({key for key in world.asked if key.startswith("compare")}) == 2


def test_a_watermark_is_followed_in_the_tick(make_settings: Make) -> None:
    settings = make_settings(
        source__relation="theirs", source__key="id", source__content="body", source__updated_at="t",
        automation__gather_seconds=0,
    )  # fmt: skip
    world = SensorWorld(settings)
    world.store.connection.run(":create theirs {id: String => body: String, t: Int}", write=True)
    plan(world.store, world.store.source(settings.source), 10)
    world.store.connection.run(
        "?[id, body, t] <- [['a', 'x', 1], ['b', 'y', 2]] :put theirs {id => body, t}", write=True
    )
    world.step()
    world.step()
    assert "batch-000001" in world.asked_batches


def test_an_index_on_the_watermark_is_used(make_settings: Make) -> None:
    settings = make_settings(
        source__relation="theirs", source__key="id", source__content="body", source__updated_at="t"
    )
    store = CozoStore.open(settings.database)
    store.connection.run(":create theirs {id: String => body: String, t: Int}", write=True)
    store.connection.run("?[id, body, t] <- [['a', 'x', 1], ['b', 'y', 2]] :put theirs {id => body, t}", write=True)
    source = store.source(settings.source)
    found = [[r.key for r in page] for page, _ in source.newer(2, 10)]
    store.connection.run("::index create theirs:body_first {body}", write=True)
    store.connection.run("::index create theirs:by_t {t}", write=True)
    scripts: list[str] = []
    run = store.connection.run
    store.connection.run = lambda script, *a, **k: (scripts.append(script), run(script, *a, **k))[1]  # type: ignore[method-assign]
    assert [[r.key for r in page] for page, _ in source.newer(2, 10)] == found == [["b"]]
    assert any("*theirs:by_t{" in script for script in scripts)


def test_the_cost_of_a_tick_does_not_grow_with_what_is_there(world: SensorWorld) -> None:
    """What a tick reads is counted, not timed: 40,000 batches that are known already are not read again."""
    rows = [[batch_id(n), "record", 1, 1.0] for n in range(1, 40_001)]
    world.store.connection.run(
        "?[batch, source, members, created_at] <- $rows :put dobby_batch {batch => source, members, created_at}",
        {"rows": rows}, write=True,
    )  # fmt: skip
    world.store.connection.run("?[name, value] <- [['next_batch', 40001]] :put dobby_meta {name => value}", write=True)
    first = world.step()
    assert len(world.partitions) == 40_000
    assert world.partitions == sorted(world.partitions)
    assert first.run_requests == []
    world.cursor = (
        Cursor.model_validate_json(world.cursor or "{}")
        .model_copy(update={"asked": batch_id(40_000)})
        .model_dump_json()
    )
    world.write(0, 10)
    read: list[int] = []
    run = world.store.connection.__class__.run

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = run(self, *args, **kwargs)
        read.append(len(result.rows))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.store.connection.__class__, "run", counted)
        result = world.tick()
    assert [batch for r in result.run_requests or [] for batch in batches_of(dict(r.tags))] == [batch_id(40_001)]
    assert sum(read) < 200, "no more rows were read than what is new calls for"
    world.apply(result)
    assert world.partitions[-1] == batch_id(40_001)


def test_the_sensor_says_in_the_ui_that_somebody_looked(world: SensorWorld) -> None:
    first = world.step()
    assert [event.asset_key.to_user_string() for event in first.asset_events] == ["record_batches", "source_records"]
    assert first.asset_events[1].metadata["dagster/row_count"].value == 0
    assert world.step().asset_events == []
    world.now += world.settings.automation.stale_seconds / 4
    assert len(world.step().asset_events) == 2
    world.write(0, 25)
    assert [e.asset_key.to_user_string() for e in world.step().asset_events] == ["record_batches"], "counted just now"
