"""Backfill, preview, purge, recover and what doctor says of what is stuck, from the terminal."""

import io
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from dobby_dagster.domain.owner import owner_of
from dobby_dagster.domain.scope import NO_RECIPE, Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.flawed_engine import Faults
from dobby_dagster_tests.helpers.records import put

pytestmark = pytest.mark.slow

WHERE = ["--database", "sqlite:///code.db"]
CODE = {f"k{i}": f"def f{i}(a):\n    return a + {i}\n" for i in range(6)}


@pytest.fixture
def filled(dobby: Dobby) -> CozoStore:
    """Six records of Dobby's own relation in three batches."""
    Path("dobby.toml").write_text('[pipeline]\nbatch_size = 2\n[model]\ndevice = "cpu"\n')
    store = CozoStore.open(DatabaseSettings(url="sqlite:///code.db"))
    put(store, CODE)
    return store


def test_a_backfill_of_what_failed_infers_only_that(filled: CozoStore, dobby: Dobby, faults: Faults) -> None:
    faults.set("f1(", "f4(")
    answer = dobby("summarize", *WHERE)
    assert answer.code == 1
    assert "batch-000001: 1 of 2 records failed (50%, limit 10%): k1; last error: injected" in answer.err
    assert set(faults.asked()) == set(CODE.values())
    faults.set()
    assert "2 batches started but not finished; retried automatically" in dobby("doctor", *WHERE).out
    done = dobby("backfill", "--failed", *WHERE, "--json").json
    assert (done["batches"], done["inferred"]) == (["batch-000001", "batch-000003"], 2)
    assert sorted(faults.asked()) == [CODE["k1"], CODE["k4"]], "and nothing else"
    assert dobby("status", *WHERE, "--json").json["completed"] == 6
    nothing = dobby("backfill", "--failed", *WHERE)
    assert (nothing.code, nothing.out) == (
        0, "Nothing to backfill: no batch was started and left unfinished.\n"
    )  # fmt: skip


def test_one_red_batch_leaves_the_metrics_and_checks_of_the_others_green(
    filled: CozoStore, dobby: Dobby, faults: Faults
) -> None:
    faults.set("f2(")
    assert dobby("summarize", *WHERE).code == 1
    faults.set()
    recipe = filled.recipes.latest() or NO_RECIPE
    assert filled.batch_reports.measured(recipe) == {"batch-000001", "batch-000003"}
    with dg.DagsterInstance.from_config(".dagster_home") as instance:
        for asset in ("summaries", "metrics"):
            assert instance.get_materialized_partitions(dg.AssetKey(asset)) == {"batch-000001", "batch-000003"}
        key = dg.AssetCheckKey(dg.AssetKey("summaries"), "completed_have_summaries")
        [last] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert last.status.value == "SUCCEEDED"
    filled.connection.run(
        "?[batch, recipe] := *dobby_metric{batch, recipe} :rm dobby_metric {batch, recipe}", write=True
    )
    assert dobby("backfill", "--all", *WHERE, "--json").code == 0
    assert filled.batch_reports.measured(recipe) == {"batch-000001", "batch-000002", "batch-000003"}, (
        "and what was red is done"
    )


def test_recipes_are_told_apart_by_the_settings_in_which_they_differ() -> None:
    from dobby_dagster.cli.recipe_labels import non_default_settings, settings_by_recipe

    one = {"temperature": 0.0, "quantization": "none", "seed": 1}
    rows = [{"recipe": "a", "settings": one}, {"recipe": "b", "settings": one | {"quantization": "int8"}}]
    assert settings_by_recipe(rows) == {"a": "quantization=none", "b": "quantization=int8"}
    assert settings_by_recipe(rows[:1]) == {"a": "seed=1"}
    again = [rows[0], {"recipe": "b", "settings": one | {"second_try": "refused"}}]
    assert settings_by_recipe(again) == {"a": "second_try=never", "b": "second_try=refused"}
    assert non_default_settings({"quantization": "none"}) == "default settings"


def test_a_partition_that_is_no_batch_fails(filled: CozoStore, dobby: Dobby) -> None:
    from dobby_dagster.defs.runs.batch_runs import batches_of
    from dobby_dagster.defs.runs.dagster_home import opened_instance
    from dobby_dagster.defs.runs.in_process import run_job
    from dobby_dagster.domain.settings_loader import load_settings

    settings = load_settings({"database.url": WHERE[1], "model.device": "cpu"}).settings
    with opened_instance(settings) as instance:
        instance.add_dynamic_partitions("record_batches", ["foo"])
        tags = {"dagster/asset_partition_range_start": "foo", "dagster/asset_partition_range_end": "foo"}
        result = run_job(settings, "summarize_batches", instance, tags)
        assert not result.success
        assert "there is no batch 'foo'" in str([e.event_specific_data for e in result.all_events if e.is_failure])
        assert list(batches_of(tags)) == ["foo"], "and no sensor stumbles over it"


def test_a_backfill_of_a_range_or_of_all(filled: CozoStore, dobby: Dobby) -> None:
    assert dobby("backfill", "--all", *WHERE, "--json").json["batches"] == [], "nothing was planned yet"
    assert "there is no batch 'batch-000001'" in dobby("backfill", "batch-000001", *WHERE).err
    from dobby_dagster.domain.settings import SourceSettings
    from dobby_dagster.pipeline.planning.planner import plan

    plan(filled, filled.source(SourceSettings()), 2)
    assert (
        "2 batches, 4 records settled, 4 of them inferred"
        in dobby("backfill", "batch-000002", "batch-000003", *WHERE).out
    )
    assert dobby("backfill", "batch-000002", *WHERE, "--json").json["inferred"] == 0, "it is done already"
    assert dobby("backfill", "--all", *WHERE, "--json").json["batches"] == ["batch-000001"]
    assert dobby("backfill", "--all", *WHERE).out == "Nothing to backfill: every batch is settled.\n"
    assert dobby("backfill", "batch-000002", *WHERE).out == "1 batch: nothing was missing.\n"
    turned = dobby("backfill", "batch-000003", "batch-000001", *WHERE)
    assert turned.code == 1
    assert "did you mean: dobby backfill --database sqlite:///code.db batch-000001 batch-000003" in turned.err
    refused = dobby("backfill", "batch-000009", *WHERE)
    assert refused.code == 1
    assert "there is no batch 'batch-000009' of 'record' (there are batch-000001 to batch-000003)" in refused.err
    for unclear in ([], ["--failed", "--all"], ["batch-000001", "--all"]):
        assert "which batches to backfill is ambiguous" in dobby("backfill", *unclear, *WHERE).err


def test_runs_from_the_terminal_are_runs_of_the_code_locations_jobs(filled: CozoStore, dobby: Dobby) -> None:
    """So the UI finds the job by the location's and the job's name, and offers to re-execute the run."""
    assert dobby("summarize", *WHERE).code == 0
    with dg.DagsterInstance.from_config(".dagster_home") as instance:
        runs = instance.get_runs()
        assert {run.job_name for run in runs} == {"plan_batches", "summarize_batches"}
        for run in runs:
            assert run.remote_job_origin is not None
            assert run.remote_job_origin.location_name == "dobby"
            assert run.remote_job_origin.repository_origin.repository_name == "__repository__"
            assert run.is_success


def test_a_backfill_is_handed_to_the_daemon(filled: CozoStore, dobby: Dobby) -> None:
    from dobby_dagster.domain.settings import SourceSettings
    from dobby_dagster.pipeline.planning.planner import plan

    plan(filled, filled.source(SourceSettings()), 2)
    answer = dobby("backfill", "batch-000001", "batch-000002", "--submit", *WHERE)
    assert "no dobby dev serves this DAGSTER_HOME" in answer.err
    with dg.DagsterInstance.from_config(".dagster_home") as instance:
        [backfill] = instance.get_backfills()
        assert backfill.title == "Backfill batch-000001 to batch-000002"
        assert f"Backfill {backfill.backfill_id} of 2 batches" in answer.out


@pytest.mark.usefixtures("default_model")
def test_a_preview_says_what_a_change_of_model_would_touch_and_changes_nothing(
    filled: CozoStore, dobby: Dobby, llama: Path
) -> None:
    put(filled, {"same": CODE["k0"]})
    before = dobby("preview", *WHERE, "--json").json
    assert (before["records"], before["waiting"], before["contents"], before["seconds"]) == (0, 7, 7, None)
    assert before["prompt_tokens"] > 7 * 10, "rows that no plan has seen are counted, and their tokens"
    dobby("summarize", *WHERE)
    settled = dobby("preview", *WHERE)
    assert "dobby-code-73m, summary@" in settled.out
    assert "none" in settled.out
    other = dobby("preview", "--model", llama, *WHERE, "--json").json
    assert (other["records"], other["batches"], other["contents"], other["waiting"]) == (7, 4, 6, 0)
    assert other["seconds"] is None
    assert other["output_is_limit"]
    assert other["output_tokens"] == 6 * PromptLibrary.load().get("summary").max_new_tokens
    assert other["prompt_tokens"] > 6 * 20
    [[_, model, _, summaries]] = other["others"]
    assert (model, summaries) == ("dobby-code-73m", 7)
    assert "unknown: this model has not run here yet" in dobby("preview", "--model", llama, *WHERE).out
    assert dobby("status", *WHERE, "--json").json["completed"] == 7, "a preview changes nothing"
    longer = dobby("preview", *WHERE, "--prompt", "summary", "--config", _longer(), "--json").json
    assert longer["records"] == 7
    assert longer["seconds"] > 0, "the same model has run here, under other settings"


def _longer() -> Path:
    path = Path("longer.toml")
    path.write_text('[inference]\nmax_new_tokens = 50\n[model]\ndevice = "cpu"\n')
    return path


@pytest.mark.usefixtures("default_model")
def test_summaries_of_a_former_model_stay_until_they_are_purged(
    filled: CozoStore, dobby: Dobby, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    dobby("summarize", *WHERE)
    first = filled.recipes.latest()
    dobby("summarize", "--model", llama, *WHERE, "--config", _tolerant())
    assert {row["model"] for row in filled.reports.summaries_of("record", "k0")} >= {"dobby-code-73m"}
    assert "there is no recipe 'nope'" in dobby("purge", "nope", "--yes", *WHERE).err
    assert "which recipes to purge is ambiguous" in dobby("purge", *WHERE).err
    asked = dobby("purge", "--old", *WHERE)
    assert asked.code != 0, "without --yes it asks, and there is no answer"
    assert f"{first}: 6 summaries by dobby-code-73m, summary@" in asked.err
    assert "Delete 6 summaries and all other results of 1 recipe?" in asked.err
    assert len(filled.recipes.all()) == 2
    assert dobby("purge", "--old", "--yes", *WHERE, "--json").json == {first: 6}
    assert "dobby-code-73m" not in {row["model"] for row in filled.reports.summaries_of("record", "k0")}
    assert len(filled.recipes.all()) == 1
    assert "Nothing to purge" in dobby("purge", "--old", "--yes", *WHERE).out


def _tolerant() -> Path:
    path = Path("tolerant.toml")
    path.write_text('[pipeline]\nbatch_size = 2\nfailed_share_limit = 1.0\n[model]\ndevice = "cpu"\n')
    return path


def test_doctor_shows_what_is_stuck_and_recover_fixes_it(filled: CozoStore, dobby: Dobby) -> None:
    from dobby_dagster.domain.settings import SourceSettings
    from dobby_dagster.pipeline.planning.planner import plan

    plan(filled, filled.source(SourceSettings()), 2)
    assert "Nothing was stuck." in dobby("recover", *WHERE).out
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = owner_of(process.pid)
    filled.claims.claim(filled.states.members(Scope("r", "batch-000001")), owner, Scope("r", "batch-000001", "run"))
    assert "nothing" in next(line for line in dobby("doctor", *WHERE).out.splitlines() if "stuck" in line)
    process.kill()
    process.wait()
    sick = dobby("doctor", *WHERE)
    assert sick.code == 1
    assert "1 record claim of a dead process" in sick.out
    assert "dobby recover" in sick.out
    recovered = dobby("recover", *WHERE)
    assert "0 runs of dead processes closed, 2 records returned to pending, 0 leaked pool slots freed." in recovered.out
    assert dobby("recover", *WHERE, "--json").json == {"runs": [], "records": 0, "slots": []}
    assert dobby("doctor", *WHERE).code == 0


def test_doctor_examines_the_ledger_and_recover_repairs_it(filled: CozoStore, dobby: Dobby) -> None:
    dobby("summarize", *WHERE)
    recipe = filled.recipes.latest()
    filled.connection.run(
        "?[source, key, fingerprint] := *dobby_summary{source, key, fingerprint}, key == 'k0'"
        " :rm dobby_summary {source, key, fingerprint}",
        write=True,
    )
    sick = dobby("doctor", *WHERE, "--json")
    [finding] = [finding for finding in sick.json if finding["name"] == "invariants"]
    assert (sick.code, finding["ok"]) == (1, False)
    assert "completed records have a summary of their content, such as k0 in batch-000001" in finding["message"]
    assert finding["remedy"].startswith("dobby recover")
    assert "1 record repaired" in dobby("recover", *WHERE).out
    assert filled.reports.status("record", recipe)["pending"] == 1
    assert dobby("summarize", *WHERE, "--json").json["completed"] == filled.source(SourceSettings()).count()


def test_doctor_names_batches_that_were_given_up(filled: CozoStore, dobby: Dobby) -> None:
    dobby("summarize", *WHERE)
    recipe = filled.recipes.latest() or NO_RECIPE
    filled.upkeep.redo("record", recipe, ["k0"])
    filled.attempts.note_run(recipe, ["batch-000001"], "0")
    for number in range(1, 4):
        filled.attempts.note_run(recipe, ["batch-000001"], str(number))
    sick = dobby("doctor", *WHERE)
    assert sick.code == 1
    assert "batch-000001: 4 runs committed nothing; it is not retried automatically" in sick.out
    assert "dobby backfill --database sqlite:///code.db batch-000001" in sick.out
