"""What happens unattended, in this process: retries and their end, recovery, jobs, upkeep, alerts."""

import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import pytest

from dobby_dagster.definitions import build_definitions
from dobby_dagster.defs.automation import retries
from dobby_dagster.defs.operations import operations
from dobby_dagster.defs.recommendation import by_recommendation
from dobby_dagster.defs.recovery import DIED, OWNER_TAG, dead_runs, leaked_slots, recover
from dobby_dagster.defs.run_here import dagster_home
from dobby_dagster.defs.runs import batches_of
from dobby_dagster.defs.wiring import build_assets, build_resources
from dobby_dagster.domain.errors import (
    InferenceError,
    ModelError,
    SettingsError,
    SourceError,
    StoreAccessError,
    StoreBusyError,
    StoreUnavailableError,
)  # fmt: skip
from dobby_dagster.domain.owner import new_owner, owner_of, retire
from dobby_dagster.domain.records import RecordVersion, batch_id
from dobby_dagster.domain.settings import AutomationSettings, Settings
from dobby_dagster.domain.states import COMPLETED, PENDING, ProcessingState
from dobby_dagster.inference.prompts import chosen_prompt
from dobby_dagster.inference.recipe import recipe_of
from dobby_dagster.pipeline.alerts import Alert, AlertError, deliver
from dobby_dagster.pipeline.backups import back_up
from dobby_dagster.pipeline.planning import plan
from dobby_dagster.pipeline.retrying import back_off, due, unsettled
from dobby_dagster.store.store import CozoStore
from dobby_dagster_tests.test_summarizing import put

Make = Callable[..., Settings]


def recipe(settings: Settings) -> str:
    return recipe_of(settings.model, settings.inference, chosen_prompt(settings.prompt)).id


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    return make_settings(pipeline__batch_size=5, model__device="cpu", automation__retry_seconds=100)


@pytest.fixture
def store(settings: Settings) -> CozoStore:
    opened = CozoStore.open(settings.database)
    put(opened, {f"k{i:02d}": f"def add_{i}(a, b):\n    return a + b + {i}\n" for i in range(12)})
    plan(opened, opened.source(settings.source), 5)
    return opened


@pytest.fixture
def instance(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """A real instance, with the project's own dagster.yaml."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    dagster_home(settings)
    with dg.DagsterInstance.get() as opened:
        yield opened


def versions(store: CozoStore, settings: Settings, batch: str) -> list[RecordVersion]:
    return [member.version for member in store.work.members(batch, recipe(settings))]


def settle(store: CozoStore, settings: Settings, batch: str, state: ProcessingState = COMPLETED) -> None:
    store.work.set_states(versions(store, settings, batch), state, recipe(settings), batch, "run")


def run(
    name: str, settings: Settings, instance: dg.DagsterInstance, config: dict[str, Any] | None = None
) -> dg.ExecuteInProcessResult:
    job = build_definitions(settings).resolve_job_def(name)
    return job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)


# --- Retries ------------------------------------------------------------------------------------------------------


def test_back_off_doubles_and_has_an_end(store: CozoStore, settings: Settings) -> None:
    assert [back_off(100, tries) for tries in (1, 2, 3)] == [100, 200, 400]
    rid, now = recipe(settings), time.time()
    assert unsettled(store, "record", rid, 3, 100) == [], "what nobody ever began is nobody's failure"
    seen = []
    for number in range(4):
        store.work.note_attempts(["batch-000001"], rid, f"run-{number}")
        [candidate] = unsettled(store, "record", rid, 3, 100)
        seen.append((candidate.left, candidate.tries, round(candidate.due_at - now, -1)))
        assert due([candidate]) == []
    assert seen == [(5, 1, 100), (5, 2, 200), (5, 3, 400), (5, 4, float("inf"))]
    assert candidate.given_up


def test_a_failed_record_is_due_after_its_own_back_off_and_only_if_it_may_get_better(
    store: CozoStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rid = recipe(settings)
    store.work.note_attempts([batch_id(1), batch_id(2), batch_id(3)], rid, "run")
    for number in (2, 3):
        settle(store, settings, batch_id(number))
    may, never = InferenceError("flaky"), ModelError("wrong")
    members = versions(store, settings, batch_id(1))
    store.work.set_states(members[:1], ProcessingState.failed(may, 2), rid, batch_id(1), "run")
    store.work.set_states(members[1:], ProcessingState.failed(never, 1), rid, batch_id(1), "run")
    [candidate] = unsettled(store, "record", rid, 3, 100)
    assert (candidate.batch, candidate.left, candidate.failed) == (batch_id(1), 0, 1)
    assert 190 < candidate.due_at - time.time() <= 200
    store.work.set_states(members[:1], ProcessingState.failed(may, 3), rid, batch_id(1), "run")
    assert unsettled(store, "record", rid, 3, 100) == [], "it was tried often enough: quarantined"


def test_the_schedule_runs_what_is_due_and_says_why_nothing(
    store: CozoStore, settings: Settings, instance: dg.DagsterInstance, make_settings: Make
) -> None:
    rid = recipe(settings)
    instance.add_dynamic_partitions("record_batches", [batch_id(1), batch_id(2)])
    store.work.note_attempts([batch_id(1), batch_id(2), batch_id(3)], rid, "run")
    later = retries.evaluate(settings, instance, "t1")
    assert isinstance(later, dg.SkipReason)
    assert "2 batches wait for their next try, 0 were tried often enough" in (later.skip_message or "")
    at_once = make_settings(pipeline__batch_size=5, model__device="cpu", automation__retry_seconds=0)
    asked = retries.evaluate(at_once, instance, "t1")
    assert isinstance(asked, list)
    assert [list(batches_of(dict(request.tags))) for request in asked] == [[batch_id(1), batch_id(2)]]
    job = build_definitions(settings).resolve_job_def("summarize_batches")
    instance.create_run_for_job(job, tags=dict(asked[0].tags))
    assert isinstance(retries.evaluate(at_once, instance, "t2"), dg.SkipReason), "they are in a run"
    for number in range(5):
        store.work.note_attempts([batch_id(1)], rid, f"again-{number}")
    for under_way in instance.get_runs():
        instance.delete_run(under_way.run_id)
    settle(store, settings, batch_id(2))
    ended = retries.evaluate(at_once, instance, "t3")
    assert isinstance(ended, dg.SkipReason)
    assert "1 were tried often enough (see dobby doctor)" in (ended.skip_message or "")


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (StoreBusyError("busy"), False), (StoreUnavailableError("down"), False), (InferenceError("flaky"), False),
        (ModelError("no model"), True), (SourceError("no relation"), True), (ValueError("nobody foresaw it"), True),
    ],
)  # fmt: skip
def test_a_step_is_retried_as_its_error_recommends(error: Exception, final: bool) -> None:
    @dg.op(retry_policy=dg.RetryPolicy(max_retries=2))
    @by_recommendation()
    def fail() -> None:
        tries.append(1)
        raise error

    @dg.job
    def job() -> None:
        fail()

    tries: list[int] = []
    result = job.execute_in_process(raise_on_error=False)
    assert not result.success
    assert len(tries) == (1 if final else 3)
    if final:
        [failure] = [event for event in result.all_events if event.is_step_failure]
        assert str(error) in failure.step_failure_data.user_failure_data.description


# --- Recovery -----------------------------------------------------------------------------------------------------


def dead_owner() -> str:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = owner_of(process.pid)
    process.kill()
    process.wait()
    return owner


def started_run(instance: dg.DagsterInstance, settings: Settings, owner: str | None, inherited: bool = False) -> str:
    job = build_definitions(settings).resolve_job_def("recover_from_crash")
    begun = instance.create_run_for_job(job)
    if owner:
        named = "some-other-run" if inherited else begun.run_id
        instance.add_run_tags(begun.run_id, {OWNER_TAG: f"{named}/{owner}"})
    event = dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=job.name)
    instance.report_dagster_event(event, begun.run_id)
    return begun.run_id


def test_what_a_dead_process_began_is_mended_and_what_a_living_one_does_is_not_touched(
    store: CozoStore, settings: Settings, instance: dg.DagsterInstance
) -> None:
    rid, dead, alive = recipe(settings), dead_owner(), new_owner()
    try:
        for owner, batch in ((dead, batch_id(1)), (alive, batch_id(2))):
            store.work.claim(store.work.members(batch, rid)[:3], owner, rid, batch, "run")
        died = started_run(instance, settings, dead)
        lives = started_run(instance, settings, alive)
        inherits = started_run(instance, settings, dead, inherited=True)
        elsewhere = started_run(instance, settings, "another-host/1/1.00/token")
        storage = instance.event_log_storage
        storage.set_concurrency_slots("device", 2)
        for run_id in (died, lives):
            assert storage.claim_concurrency_slot("device", run_id, "summaries").is_claimed
        found = recover(instance, store)
        assert (found.runs, found.records, found.slots) == ([died], 3, [died])
        assert str(found) == (
            "1 runs of dead processes closed, 3 records returned to pending, 1 leaked pool slots freed"
        )
        statuses = {r.run_id: r.status for r in instance.get_runs()}
        assert statuses[died] == dg.DagsterRunStatus.FAILURE
        assert {statuses[r] for r in (lives, inherits, elsewhere)} == {dg.DagsterRunStatus.STARTED}
        assert store.work.counts(batch_id(1), rid)["pending"] == 5
        assert store.work.counts(batch_id(2), rid)["in_progress"] == 3
        assert storage.get_concurrency_info("device").active_run_ids == {lives}
        messages = [log.message for log in instance.all_logs(died)]
        assert any(DIED in message for message in messages)
        assert not recover(instance, store)
    finally:
        retire(alive)


def test_a_run_that_never_said_who_works_on_it_is_dead_after_a_while(
    settings: Settings, store: CozoStore, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = started_run(instance, settings, None)
    assert dead_runs(instance) == []
    now = time.time()
    monkeypatch.setattr("dobby_dagster.defs.recovery.time.time", lambda: now + 700)
    assert [r.run_id for r in dead_runs(instance)] == [silent]


def test_a_run_says_who_works_on_it_and_leaves_no_owner_behind(
    settings: Settings, store: CozoStore, instance: dg.DagsterInstance
) -> None:
    result = run("recover_from_crash", settings, instance)
    assert result.success
    [tags] = [r.tags for r in instance.get_runs()]
    assert tags[OWNER_TAG].startswith(f"{result.run_id}/")
    assert leaked_slots(instance) == []
    assert store.work.owners() == []


# --- Jobs ---------------------------------------------------------------------------------------------------------


def backfills(instance: dg.DagsterInstance) -> list[tuple[str, list[str]]]:
    found = []
    for backfill in instance.get_backfills():
        subset = backfill.asset_backfill_data.target_subset  # type: ignore[union-attr]
        keys = subset.get_partitions_subset(dg.AssetKey("summaries")).get_partition_keys()
        found.append((backfill.title or "", sorted(keys)))
    return found


def test_summarize_new_looks_adds_partitions_and_starts_a_backfill(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    opened = CozoStore.open(settings.database)
    put(opened, {f"k{i}": f"def f{i}(): pass" for i in range(7)})
    assert run("summarize_new", settings, instance).success
    assert instance.get_dynamic_partitions("record_batches") == [batch_id(1), batch_id(2)]
    assert backfills(instance) == [("Summarise 7 records", [batch_id(1), batch_id(2)])]
    for number in (1, 2):
        settle(opened, settings, batch_id(number))
    assert run(
        "summarize_new", settings, instance, {"ops": {"look_and_start": {"config": {"compare_everything": True}}}}
    ).success
    assert len(instance.get_backfills()) == 1, "nothing was left to do"


def test_resummarize_makes_chosen_records_anew(
    settings: Settings, store: CozoStore, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions("record_batches", [b.id for b in store.versions.batches()])
    _infer(settings, instance)
    before = {e["key"]: e["created_at"] for e in store.reports.entries("record", recipe(settings)) if e["summary"]}
    assert len(before) == 12
    for config, message in (
        ({}, "no record was chosen"),
        ({"keys": ["nope"]}, "record 'nope' has no summary to make anew"),
        ({"confidence_below": 7}, "less than or equal to 1"),
    ):
        refused = run("resummarize_records", settings, instance, {"ops": {"forget_and_start": {"config": config}}})
        assert not refused.success
        assert message in str([e.event_specific_data for e in refused.all_events if e.is_failure])
    config = {"ops": {"forget_and_start": {"config": {"keys": ["k00"], "prefix": "k1"}}}}
    assert run("resummarize_records", settings, instance, config).success
    assert backfills(instance) == [("Make 3 summaries anew", [batch_id(1), batch_id(3)])]
    assert store.reports.status("record", recipe(settings))["pending"] == 3
    _infer(settings, instance)
    after = {e["key"]: e["created_at"] for e in store.reports.entries("record", recipe(settings)) if e["summary"]}
    assert {key for key in before if after[key] != before[key]} == {"k00", "k10", "k11"}


def _infer(settings: Settings, instance: dg.DagsterInstance) -> None:
    wanted = [
        asset for asset in build_assets(settings) if asset.key.to_user_string() in ("pending_records", "summaries")
    ]
    tags = {"dagster/asset_partition_range_start": batch_id(1), "dagster/asset_partition_range_end": batch_id(3)}
    assert dg.materialize(wanted, instance=instance, resources=build_resources(settings), tags=tags).success


def test_the_quarantine_is_released_with_its_tries_forgotten(
    settings: Settings, store: CozoStore, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions("record_batches", [b.id for b in store.versions.batches()])
    rid = recipe(settings)
    settle(store, settings, batch_id(2), ProcessingState.failed(ModelError("broken"), 3))
    refused = run(
        "release_quarantine", settings, instance, {"ops": {"release_and_start": {"config": {"keys": ["k00"]}}}}
    )
    assert "record 'k00' is not failed" in str([e.event_specific_data for e in refused.all_events if e.is_failure])
    assert run("release_quarantine", settings, instance).success
    states = {m.state.state.value for m in store.work.members(batch_id(2), rid) if m.state}
    assert states == {"pending"}
    assert [m.state.retry_count for m in store.work.members(batch_id(2), rid) if m.state] == [0] * 5
    assert backfills(instance) == [("Try 5 failed records again", [batch_id(2)])]


def test_every_job_and_its_config_explain_themselves(settings: Settings) -> None:
    definitions = build_definitions(settings)
    for job in definitions.resolve_all_job_defs():
        if not job.name.startswith("__"):
            assert job.description, job.name
    for job in operations(settings):
        for node in job.nodes:
            fields = node.definition.config_schema.config_type
            for name, field in getattr(fields, "fields", {}).items():
                assert field.description, f"{job.name}: {name}"
    for sensor in definitions.sensors or []:
        assert sensor.description
    for schedule in definitions.schedules or []:
        assert schedule.description


# --- Upkeep -------------------------------------------------------------------------------------------------------


def test_upkeep_checks_backs_up_rotates_and_compacts(
    make_settings: Make, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    settings = make_settings(automation__backup_folder=folder, automation__backups_kept=2, automation__history_days=30)
    store = CozoStore.open(settings.database)
    put(store, {"a": "x"})
    plan(store, store.source(settings.source), 5)
    folder.mkdir()
    for day in ("01", "02", "03"):
        (folder / f"dobby-202001{day}-000000.backup").write_text("")
    (folder / "mine.txt").write_text("not Dobby's")
    version = versions(store, settings, batch_id(1))
    store.work.set_states(version, PENDING, recipe(settings), batch_id(1), "")
    store.work.set_states(version, COMPLETED, recipe(settings), batch_id(1), "")
    assert run("upkeep", settings, instance).success
    kept = sorted(path.name for path in folder.iterdir())
    assert len(kept) == 3
    assert kept[0] == "dobby-20200103-000000.backup"
    assert kept[2] == "mine.txt"
    assert len(store.work.history("record", "a")) == 3, "nothing is a month old yet"
    today = {
        "ops": {
            "compact_history": {"config": {"days": 1e-9}},
            "back_up_database": {"config": {"folder": "", "kept": 1}},
        }
    }
    assert run("upkeep", settings, instance, today).success
    assert [event["event"] for event in store.work.history("record", "a")] == ["seen", "completed"]
    assert sorted(path.name for path in folder.iterdir()) == kept
    from dobby_dagster.domain.settings import DatabaseSettings
    from dobby_dagster.store.store import restore

    copy = DatabaseSettings(url=f"sqlite:///{tmp_path}/copy.db")
    restore(copy, folder / kept[1])
    assert CozoStore.open(copy).source(settings.source).count() == 1


def test_a_damaged_database_stops_upkeep_before_it_replaces_a_good_backup(
    make_settings: Make, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    settings = make_settings(automation__backup_folder=folder, automation__backups_kept=1)
    store = CozoStore.open(settings.database)
    put(store, {f"k{i}": "x" * 500 for i in range(2_000)})
    good, _ = back_up(store, folder, 1)
    file = tmp_path / "records.db"
    damaged = bytearray(file.read_bytes())
    for page in range(20, len(damaged) // 4096, 3):
        damaged[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    file.write_bytes(damaged)
    result = run("upkeep", settings, instance)
    assert not result.success
    assert "is damaged" in str([e.event_specific_data for e in result.all_events if e.is_failure])
    assert list(folder.iterdir()) == [good]


def test_a_backup_folder_that_can_not_be_made_is_named(store: CozoStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreAccessError, match=r"backup folder .*file/b can't be made"):
        back_up(store, tmp_path / "file" / "b", 3)


# --- Alerts -------------------------------------------------------------------------------------------------------


class Webhook(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent; answers as it was told."""

    got: ClassVar[list[Any]] = []
    answers: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append((self.path, json.loads(body)))
        self.send_response(self.answers.pop(0) if self.answers else 200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Webhook)
    Webhook.got, Webhook.answers = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hooks/secret-part"
    server.shutdown()
    server.server_close()


def test_an_alert_goes_to_the_log_the_webhook_and_the_command(
    webhook: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "alert.json"
    command = (sys.executable, "-c", f"import sys, pathlib; pathlib.Path({str(out)!r}).write_text(sys.stdin.read())")
    settings = AutomationSettings(alert_webhook=webhook, alert_command=command)
    alert = Alert("run_failure", "A title; $(touch x)", "What happened", "run-1", ("batch-000001",))
    deliver(alert, settings)
    [(path, sent)] = Webhook.got
    assert path == "/hooks/secret-part"
    assert sent == json.loads(out.read_text())
    assert (sent["kind"], sent["title"], sent["batches"]) == ("run_failure", "A title; $(touch x)", ["batch-000001"])
    assert "A title" in caplog.text
    assert "secret-part" not in caplog.text


def test_an_alert_that_can_not_be_delivered_is_an_error_without_the_secret(webhook: str) -> None:
    Webhook.answers = [500]
    alert = Alert("freshness", "title", "text")
    with pytest.raises(AlertError, match=r"webhook at 127.0.0.1 answered 500") as caught:
        deliver(alert, AutomationSettings(alert_webhook=webhook))
    assert "secret" not in str(caught.value)
    with pytest.raises(AlertError, match="can't be reached"):
        deliver(alert, AutomationSettings(alert_webhook="http://127.0.0.1:9/secret"))
    with pytest.raises(AlertError, match=r"ended with 3: no"):
        deliver(
            alert,
            AutomationSettings(
                alert_command=(
                    sys.executable,
                    "-c",
                    "import sys; sys.exit('no') if 0 else (sys.stderr.write('no'), sys.exit(3))",
                )
            ),
        )
    with pytest.raises(AlertError, match="can't be run"):
        deliver(alert, AutomationSettings(alert_command=("/no/such/program",)))


def test_the_webhook_is_a_secret_and_must_be_a_url(make_settings: Make) -> None:
    from dobby_dagster.domain.settings_loader import load_settings

    with pytest.raises(SettingsError, match=r"automation.alert_webhook = \*\*\* is invalid: must be an http") as caught:
        make_settings(automation__alert_webhook="hooks.example/secret-part")
    assert "secret-part" not in str(caught.value)
    loaded = load_settings({"automation.alert_webhook": "https://hooks.example/secret-part"}, environment={})
    assert not any("secret-part" in value for _, value, _, _ in loaded.rows())


def test_a_failed_run_is_told_with_its_batches_and_its_reason(
    make_settings: Make, instance: dg.DagsterInstance, webhook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(automation__alert_webhook=webhook, source__relation="nope")
    CozoStore.open(settings.database)
    instance.add_dynamic_partitions("record_batches", [batch_id(1)])
    definitions = build_definitions(settings)
    job = definitions.resolve_job_def("summarize_batches")
    tags = {"dagster/asset_partition_range_start": batch_id(1), "dagster/asset_partition_range_end": batch_id(1)}
    result = job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
    assert not result.success
    sensor = definitions.resolve_sensor_def("run_failures")
    record = instance.get_run_record_by_id(result.run_id)
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failures", dagster_instance=instance, dagster_run=record.dagster_run if record else None,  # type: ignore[arg-type]
        dagster_event=next(e for e in result.all_events if e.event_type_value == "PIPELINE_FAILURE"),
    ).for_run_failure()  # fmt: skip
    sensor(context)
    [(_, sent)] = Webhook.got
    assert (
        sent["title"] == f"Dobby: run {result.run_id[:8]} of summarize_batches of batch-000001 to batch-000001 failed"
    )
    assert "no relation 'nope'" in sent["text"]
    assert sent["run"] == result.run_id


def test_staleness_is_told_once_and_so_is_its_end(
    make_settings: Make, instance: dg.DagsterInstance, webhook: str
) -> None:
    from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

    settings = make_settings(automation__alert_webhook=webhook)
    sensor = build_definitions(settings).resolve_sensor_def("staleness")
    cursor: str | None = None
    for state in ("PASS", "FAIL", "FAIL", "PASS", "PASS"):
        change = FreshnessStateChange(
            key=dg.AssetKey("record_batches"), previous_state=FreshnessState.UNKNOWN,
            new_state=FreshnessState(state), state_change_timestamp=time.time(),
        )  # fmt: skip
        instance._report_runless_asset_event(change)
        result = sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor
    assert [sent["title"] for _, sent in Webhook.got] == [
        "Dobby: nobody looks for new rows", "Dobby: new rows are looked for again",
    ]  # fmt: skip
