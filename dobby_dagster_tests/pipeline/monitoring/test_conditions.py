"""What needs attention: found in real databases, and each command in it works when it is pasted."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import portalocker
import pytest

from dobby_dagster.domain.contracts import SMALL_MODEL, PerformanceClass
from dobby_dagster.domain.errors import DegenerateOutputError, InferenceError
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.scope import RecipeId, RunId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.stall import StallKind
from dobby_dagster.domain.states import PENDING, ProcessingState
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.pipeline.monitoring.conditions import Check, Condition, Conditions, Kind, Reading
from dobby_dagster.pipeline.monitoring.disk_space import free_spaces
from dobby_dagster.pipeline.monitoring.remedy_command import remedy_command
from dobby_dagster.pipeline.monitoring.stored_conditions import LOCKED_SECONDS, stored_checks
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunk import Chunk, ChunkStats
from dobby_dagster_tests.helpers.ledger import R, batch_of, done
from dobby_dagster_tests.helpers.world import Make


def read(settings: Settings, home: Path) -> Reading:
    return Conditions().read(stored_checks(settings, home))


def of_kind(reading: Reading, kind: Kind) -> list[Condition]:
    return [condition for condition in reading.conditions if condition.kind is kind]


def run_in_a_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """In another folder, with nothing of Dobby in the environment."""
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, text=True, capture_output=True, check=False, timeout=120
    )


def remember(store: CozoStore, *names: str) -> None:
    for name in names:
        recipe = Recipe("summary@1", "text", name, name, {})
        store.recipes.remember(recipe)


def test_nothing_needs_attention_where_all_is_well(
    sqlite_store: CozoStore, make_settings: Make, tmp_path: Path
) -> None:
    assert read(make_settings(), tmp_path / "home") == Reading([], set())


def test_an_error_in_one_check_is_a_warning_and_not_the_end_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def breaks() -> list[Condition]:
        raise ZeroDivisionError("no luck")

    fine = Condition(Kind.DISK, "/", "full")
    reading = Conditions().read([Check(Kind.STALL, breaks), Check(Kind.DISK, lambda: [fine])])
    assert (list(reading.conditions), set(reading.unknown)) == ([fine], {Kind.STALL})
    assert "the check for stall alerts failed: ZeroDivisionError: no luck" in caplog.text


def test_a_slow_check_is_read_again_only_if_something_changed_and_it_has_rested() -> None:
    calls = []

    def slow() -> list[Condition]:
        calls.append(time.sleep(0.01))
        return []

    conditions, versions = Conditions(), iter([1, 1, 2, 2, 1])
    check = Check(Kind.QUARANTINE, slow, lambda: next(versions))
    readings = [conditions.read([check]) for _ in range(5)]
    assert len(calls) == 1
    assert [bool(reading.unknown) for reading in readings] == [False, False, True, True, False]


def test_a_slow_check_that_gives_up_rests_as_well(caplog: pytest.LogCaptureFixture) -> None:
    def gives_up() -> list[Condition]:
        time.sleep(0.01)
        raise TimeoutError("it takes too long")

    conditions = Conditions()
    check = Check(Kind.QUARANTINE, gives_up, lambda: 1)
    assert [set(conditions.read([check]).unknown) for _ in range(5)] == [{Kind.QUARANTINE}] * 5
    assert caplog.text.count("it takes too long") == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gone", "damaged", "newer"])
def test_a_lost_database_is_critical_and_what_only_it_knows_is_unknown(
    make_settings: Make, sqlite_store: CozoStore, sqlite_url: str, tmp_path: Path, how: str
) -> None:
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    if how == "newer":
        sqlite_store.connection.run(
            "?[name, value] <- [['schema_version', 999]] :put dobby_meta {name => value}", write=True
        )
    sqlite_store.close()
    if how == "gone":
        file.unlink()
    elif how == "damaged":
        file.write_bytes(b"not a database" * 1_000)
    reading = read(make_settings(), tmp_path / "home")
    [lost] = of_kind(reading, Kind.DATABASE)
    assert (lost.severity, lost.subject, lost.after_seconds) == ("critical", sqlite_url, 0)
    assert lost.title == f"the database {sqlite_url} is lost"
    assert {Kind.STALL, Kind.QUARANTINE, Kind.CONFIDENCE} <= set(reading.unknown)
    assert file.exists() is (how != "gone"), "no check creates a database"
    assert "database" in run_in_a_shell(lost.remedy, tmp_path).stdout


def test_a_server_that_does_not_answer_is_a_lost_database(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(database__url="http://user:secret-word@127.0.0.1:9", database__timeout_seconds=2)
    [lost] = of_kind(read(settings, tmp_path), Kind.DATABASE)
    assert lost.subject == "http://127.0.0.1:9"
    assert "secret" not in str(lost)


def test_a_locked_database_is_an_alert_only_if_it_lasts(
    make_settings: Make, sqlite_store: CozoStore, sqlite_url: str, tmp_path: Path
) -> None:
    sqlite_store.close()
    settings = make_settings(database__lease_timeout_seconds=0.2)
    with portalocker.Lock(f"{sqlite_url.removeprefix('sqlite:///')}.lease", "a"):
        reading = read(settings, tmp_path)
    [locked] = of_kind(reading, Kind.DATABASE)
    assert locked.after_seconds == LOCKED_SECONDS
    assert "is locked" in locked.title


def test_quarantine_counts_what_waits_for_a_person_and_names_the_batches(
    sqlite_store: CozoStore, make_settings: Make, tmp_path: Path
) -> None:
    _, batch, members = batch_of(sqlite_store, {f"k{i}": f"{i}" for i in range(6)})
    remember(sqlite_store, "m")
    recipe = sqlite_store.recipes.latest()
    assert recipe is not None
    scope, settings = Scope(recipe, batch, RunId("run")), make_settings(pipeline__max_retries=3)

    def fail(count: int, error: Exception, tries: int) -> None:
        state = ProcessingState.failed(error, tries)  # type: ignore[arg-type]
        sqlite_store.states.set_states([member.version for member in members[:count]], state, scope)

    fail(2, InferenceError("may pass"), 1)
    assert of_kind(read(settings, tmp_path), Kind.QUARANTINE) == []
    fail(3, InferenceError("may pass"), 3)
    [held] = of_kind(read(settings, tmp_path), Kind.QUARANTINE)
    assert (held.level, held.batches, held.title) == (3, (batch,), "3 records of 'record' in quarantine")
    fail(4, DegenerateOutputError("an echo"), 1)
    [held] = of_kind(read(settings, tmp_path), Kind.QUARANTINE)
    assert held.level == 4
    answer = run_in_a_shell(held.remedy, tmp_path)
    assert (answer.returncode, "k3" in answer.stdout) == (0, True), answer
    sqlite_store.states.set_states([member.version for member in members], PENDING, scope)
    assert of_kind(read(settings, tmp_path), Kind.QUARANTINE) == []


def test_a_stall_needs_attention_until_its_batch_makes_progress(
    sqlite_store: CozoStore, make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings(pipeline__stall_seconds=60)
    source, batch, members = batch_of(sqlite_store, {"a": "1", "b": "2"})
    scope = Scope(R, batch, RunId("run"))
    sqlite_store.claims.claim(members, "host/1/1", scope)  # type: ignore[arg-type]
    sqlite_store.stalls.record(RunId("run"), StallKind.INFERENCE, 305.0)
    [stall] = of_kind(read(settings, tmp_path), Kind.STALL)
    assert (stall.subject, stall.runs, stall.batches) == ("run", ("run",), (batch,))
    assert stall.title == "run run was ended: no token for 305 s"
    answer = run_in_a_shell(stall.remedy.replace("doctor", "alerts"), tmp_path)
    assert (answer.returncode, "no token" in answer.stdout) == (0, True), answer
    stats = ChunkStats(time.time(), time.time() + 1, [0.1])
    sqlite_store.chunks.commit(source, Chunk([done(members[0], "1")], stats), scope)
    assert of_kind(read(settings, tmp_path), Kind.STALL) == []


def test_a_broken_contract_is_a_warning_with_its_batches(
    sqlite_store: CozoStore, make_settings: Make, tmp_path: Path
) -> None:
    remember(sqlite_store, SMALL_MODEL)
    recipe = sqlite_store.recipes.latest()
    assert recipe is not None
    group = PerformanceClass(SMALL_MODEL, "cpu", "short")
    for number, speed in ((1, 50.0), (2, 3.0), (3, 2.0)):
        figures = {"records_per_second": speed}
        sqlite_store.performance.add(group, Scope(recipe, batch_id(number)), float(number), figures)
    [broken] = of_kind(read(make_settings(), tmp_path), Kind.CONTRACT)
    assert broken.title.startswith("pipeline_records_per_second: 3 records/s")
    assert (broken.severity, broken.batches) == ("warning", (batch_id(1), batch_id(2), batch_id(3)))
    assert " doctor " in broken.remedy
    for number in (4, 5, 6):
        sqlite_store.performance.add(
            group, Scope(recipe, batch_id(number)), float(number), {"records_per_second": 60.0}
        )
    assert of_kind(read(make_settings(), tmp_path), Kind.CONTRACT) == []


def summarized(
    store: CozoStore, recipe: RecipeId, confidences: Sequence[float | None], keys: Sequence[str] | None = None
) -> None:
    """A batch of records with the names ``keys``, by default of its own, summarised under ``recipe``."""
    names = [f"{recipe}-{i}" for i in range(len(confidences))] if keys is None else keys
    source, batch, members = batch_of(store, {name: f"content of {name}" for name in names})
    outcomes = []
    for member, confidence in zip(members, confidences, strict=True):
        made = done(member, f"content of {member.version.key}")
        assert made.summary is not None
        named = f"{recipe}-{member.version.key}"
        outcomes.append(
            replace(made, summary=replace(made.summary, fingerprint=named, confidence=confidence, recipe=recipe))
        )
    scope = Scope(recipe, batch, RunId("run"))
    stats = ChunkStats(time.time(), time.time(), [0.1])
    assert not store.chunks.commit(source, Chunk(outcomes, stats), scope).superseded


def test_confidence_that_changes_with_the_model_is_an_alert_while_that_is_in_use(
    sqlite_store: CozoStore, make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings()
    remember(sqlite_store, "before")
    old = sqlite_store.recipes.latest()
    remember(sqlite_store, "after")
    new = sqlite_store.recipes.latest()
    assert old is not None
    assert new is not None
    summarized(sqlite_store, old, [0.6, 0.7, 0.8] * 40)
    summarized(sqlite_store, new, [None] * 200)
    assert of_kind(read(settings, tmp_path), Kind.CONFIDENCE) == [], "unknown is not zero"
    summarized(sqlite_store, new, [0.6, 0.7, 0.75] * 40)
    assert of_kind(read(settings, tmp_path), Kind.CONFIDENCE) == []
    summarized(sqlite_store, new, [0.3, 0.4, 0.5] * 40)
    [drifted] = of_kind(read(settings, tmp_path), Kind.CONFIDENCE)
    assert "the mean confidence fell from 0.70 to 0.40" in drifted.title
    assert run_in_a_shell(drifted.remedy, tmp_path).returncode == 0
    assert of_kind(read(make_settings(automation__alert_confidence_fall=0), tmp_path), Kind.CONFIDENCE) == []
    remember(sqlite_store, "third")
    assert of_kind(read(settings, tmp_path), Kind.CONFIDENCE) == []


def test_confidence_is_compared_on_the_same_contents_where_both_recipes_have_them(
    sqlite_store: CozoStore, make_settings: Make, tmp_path: Path
) -> None:
    """The unsure records summarised again, by a better model: their mean is below that of all, and above their former."""
    remember(sqlite_store, "small")
    small = sqlite_store.recipes.latest()
    remember(sqlite_store, "large")
    large = sqlite_store.recipes.latest()
    assert small is not None
    assert large is not None
    unsure, sure = [f"k{i:02d}" for i in range(50)], [f"k{i:02d}" for i in range(50, 100)]
    summarized(sqlite_store, small, [0.05] * 50 + [0.9] * 50, unsure + sure)
    summarized(sqlite_store, large, [0.3] * 50, unsure)
    assert of_kind(read(make_settings(), tmp_path), Kind.CONFIDENCE) == []
    summarized(sqlite_store, large, [0.7] * 50, sure)
    assert of_kind(read(make_settings(), tmp_path), Kind.CONFIDENCE) == []
    summarized(sqlite_store, large, [0.2] * 50, sure)
    [fallen] = of_kind(read(make_settings(), tmp_path), Kind.CONFIDENCE)
    assert "fell from 0.47 to 0.25" in fallen.title


def test_a_redo_with_a_better_model_is_no_fall(sqlite_store: CozoStore, make_settings: Make, tmp_path: Path) -> None:
    remember(sqlite_store, "small")
    small = sqlite_store.recipes.latest()
    unsure, sure = [f"k{i:02d}" for i in range(50)], [f"k{i:02d}" for i in range(50, 100)]
    assert small is not None
    summarized(sqlite_store, small, [0.05] * 50 + [0.9] * 50, unsure + sure)
    remember(sqlite_store, "large")
    large = sqlite_store.recipes.latest()
    assert large is not None
    summarized(sqlite_store, large, [0.7] * 50, unsure)
    sqlite_store.recipes.use(small)
    assert sqlite_store.recipes.latest() == small
    assert of_kind(read(make_settings(), tmp_path), Kind.CONFIDENCE) == []


def test_a_disk_that_is_nearly_full_is_named_once(make_settings: Make, sqlite_store: CozoStore, tmp_path: Path) -> None:
    full = make_settings(automation__alert_disk_bytes=10**15, automation__backup_folder=tmp_path / "backups")
    [low] = of_kind(read(full, tmp_path / "home"), Kind.DISK)
    assert "is nearly full" in low.title
    assert run_in_a_shell(low.remedy, tmp_path).returncode == 0
    assert [space.is_low for space in free_spaces(make_settings(automation__alert_disk_bytes=0), tmp_path)] == [False]


def test_a_remedy_names_the_settings_file_and_quotes_what_a_shell_would_read(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a folder; with $(touch marks)"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("dobby.toml").write_text('[pipeline]\nmax_retries = 1\n[model]\napi_key = "sk-secret-of-mine"\n')
    settings = make_settings(database__url="sqlite:///code.db")
    CozoStore.open(settings.database).close()
    command = remedy_command(settings, "status", "--json", home=folder / "home")
    assert f"--config '{folder}/dobby.toml'" in command
    answer = run_in_a_shell(command, tmp_path)
    assert answer.returncode == 0, answer
    assert not list(tmp_path.rglob("marks"))
    assert "secret" not in command
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert shutil.which("dobby") is None
    assert run_in_a_shell(remedy_command(settings, "status"), tmp_path).returncode == 0
