"""What the former version left behind opens, has all its data, and is gone on with.

``schema-3.db`` was made by the last commit with schema 3: batches of a finished, a requested and a killed run.
``schema-3-with-home`` is a database and its DAGSTER_HOME after one ``dobby summarize`` of that commit.
"""

import gzip
import tarfile
from pathlib import Path

import dagster as dg
import pytest

from dobby_dagster.domain.owner import is_alive
from dobby_dagster.domain.scope import BatchId, RunId, Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.pipeline.summarization.summarizer import Summarizer
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import connect
from dobby_dagster.store.ledger.schema import LATEST, schema_version
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import PROMPT
from dobby_dagster_tests.helpers.records import put

FIXTURES = Path(__file__).with_name("fixtures")
RECIPE = Recipe("summary@1", "Summarize this {language} code.", "fake", "0", {})
FIRST, THIRD = (Scope(RECIPE.id, BatchId(f"batch-00000{number}"), RunId("run-3")) for number in (1, 3))


@pytest.fixture
def former(tmp_path: Path) -> CozoStore:
    path = tmp_path / "former.db"
    path.write_bytes(gzip.decompress((FIXTURES / "schema-3.db.gz").read_bytes()))
    settings = DatabaseSettings(url=f"sqlite:///{path}")
    assert schema_version(connect(settings)) == 3
    return CozoStore.open(settings)


def test_a_former_database_has_all_its_data(former: CozoStore) -> None:
    assert former.health().schema_version == LATEST
    assert former.check() == []
    states = {entry["key"]: (entry["state"], entry["error"]) for entry in former.reports.entries("record", RECIPE.id)}
    assert {key: state for key, (state, _) in states.items()} == {
        **dict.fromkeys("abfg", "completed"), "c": "failed", "d": "failed", "e": "skipped",
        "h": "in_progress", "i": "in_progress", "j": "pending",
    }  # fmt: skip
    assert states["c"][1] == "told to fail"
    texts = {row["key"]: row["text"] for row in former.batch_reports.summaries(FIRST)}
    assert texts == {key: f"It says {words} indeed." for key, words in (("a", "word1 first"), ("b", "word2 second"))}
    assert former.recipes.latest() == RECIPE.id
    assert [row["batch"] for row in former.batch_reports.metrics()] == ["batch-000001"]
    assert former.states.unfinished("record", RECIPE.id, 3) == {"batch-000001": 1, "batch-000003": 3}
    assert former.attempts.batches("record", RECIPE.id) == ["batch-000001", "batch-000002", "batch-000003"]
    assert len(former.attempts.failed(FIRST)) == 1, "a run was requested since the last commit"
    assert len(former.attempts.failed(THIRD)) == 1, "a run was killed"


def test_pending_work_of_a_former_database_is_finished(former: CozoStore) -> None:
    for owner in former.claims.owners():
        assert not is_alive(owner.owner, owner.since)
        assert former.claims.release(owner.owner, owner.scope) == 2
    source, engine = former.source(SourceSettings()), FakeEngine()
    with Summarizer(former, source, engine, PROMPT, RECIPE, 4) as summarizer:
        for scope in (FIRST, THIRD):
            members = [member for member in former.states.members(scope) if member.is_runnable(scope.batch, 3)]
            for chunk in summarizer.summarize(members, scope):
                former.chunks.commit(source, chunk, scope)
    assert set(engine.asked) == {"word3 FAIL", "word7 seventh", "word8 eighth", "word9 ninth"}
    status = former.reports.status("record", RECIPE.id)
    assert (status["completed"], status["failed"], status["skipped"], status["pending"]) == (7, 2, 1, 0)
    assert former.check() == []


@pytest.mark.slow
def test_a_former_home_keeps_its_runs_and_takes_new_ones(
    tmp_path: Path, dobby: Dobby, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(FIXTURES / "schema-3-with-home.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", url := f"sqlite:///{tmp_path}/records.db")
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        runs = {run.run_id: run for run in instance.get_runs()}
        assert {(run.job_name, run.status) for run in runs.values()} == {
            ("plan_batches", dg.DagsterRunStatus.SUCCESS), ("summarize_batches", dg.DagsterRunStatus.SUCCESS),
        }  # fmt: skip
    store = CozoStore.open(DatabaseSettings(url=url))
    before = {entry["key"]: entry["summary"] for entry in store.reports.entries("record", store.recipes.latest())}
    assert len(before) == 2
    put(store, {"new": "def sub(a, b):\n    return a - b\n"})
    assert dobby("summarize", "--json").json["completed"] == 3
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        assert len(instance.get_runs()) == len(runs) + 2
        summaries = instance.get_materialized_partitions(dg.AssetKey("summaries"))
        assert summaries == {"batch-000001", "batch-000002"}
