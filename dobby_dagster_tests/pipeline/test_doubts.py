"""Unsure, cut-off and truncated summaries: counted, shown, filtered, checked, and done again by another model."""

import json
import shutil
from pathlib import Path

import pytest

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import InferenceSettings, PipelineSettings, Settings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.inference.models.shipped_models import shelf
from dobby_dagster.inference.prompts import NEW_TOKENS, Prompt, PromptLibrary
from dobby_dagster.inference.recipe import recipe_of
from dobby_dagster.pipeline.reporting.batch_metrics import batch_metrics
from dobby_dagster.pipeline.reporting.doubtful_summaries import (
    DoubtfulCounts,
    batch_to_redo,
    count_doubtful,
    only_unsure,
)
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.checkpoints import make_checkpoint
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import PROMPT, RECIPE, run
from dobby_dagster_tests.helpers.records import fill, put

OTHER = Recipe(PROMPT.name, PROMPT.text, "other", "1", {})
MODEL = shelf()[SMALL_MODEL]
CODE = {f"f{i}": f"def f{i}(path):\n    return open(path).read({i})\n" for i in range(6)}
THEIRS = (
    "--database", "sqlite:///code.db", "--relation", "code_data", "--key", "id", "--content", "content",
)  # fmt: skip


def test_each_prompt_has_its_own_limit_and_asks_for_sentences_that_end() -> None:
    prompts = PromptLibrary.load().prompts
    assert len({prompt.max_new_tokens for prompt in prompts.values()}) == len(prompts)
    for prompt in prompts.values():
        assert "short sentence" in prompt.system
        assert "short sentence" in prompt.user, "asked once more after the content"
        assert prompt.max_new_tokens >= 80
    assert Prompt(id="mine", version=1, system="s").max_new_tokens == NEW_TOKENS


def test_the_limit_is_the_prompts_unless_it_is_set(tmp_path: Path) -> None:
    model = Settings().model.model_copy(update={"path": str(make_checkpoint(tmp_path / "model"))})
    prompt = PromptLibrary.load().get("functionality")
    by_default = recipe_of(model, InferenceSettings(), prompt)
    assert by_default.settings["max_new_tokens"] == prompt.max_new_tokens
    assert recipe_of(model, InferenceSettings(max_new_tokens=prompt.max_new_tokens), prompt) == by_default
    assert recipe_of(model, InferenceSettings(max_new_tokens=7), prompt).settings["max_new_tokens"] == 7


def test_doubts_are_counted_and_unknown_is_not_unsure(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "word1 UNSURE", "b": "word2", "c": "word3 LONG", "d": ""})
    run(sqlite_store, FakeEngine())
    assert count_doubtful(sqlite_store, "record", RECIPE.id, 0.1) == DoubtfulCounts(3, 0, 1, 1, 0)
    assert count_doubtful(sqlite_store, "record", RECIPE.id, 0.9) == DoubtfulCounts(3, 2, 1, 1, 0)
    assert count_doubtful(sqlite_store, "record", "another", 0.9) == DoubtfulCounts()
    values = batch_metrics(sqlite_store, Scope(RECIPE.id, "batch-000001"), 0.9)
    assert (values["summaries_unsure"], values["summaries_cut_off"], values["contents_truncated"]) == (2, 1, 0)
    assert batch_metrics(sqlite_store, Scope(RECIPE.id, "batch-000001"))["summaries_unsure"] == 0
    entries = list(sqlite_store.reports.entries("record", RECIPE.id))
    assert [entry["key"] for entry in only_unsure(entries, 0.9)] == ["b", "c"]


def test_a_deleted_or_edited_record_is_in_no_count(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "word1", "b": "word2"})
    run(sqlite_store, FakeEngine())
    put(sqlite_store, {"a": "word1 again"})
    run(sqlite_store, FakeEngine())
    assert count_doubtful(sqlite_store, "record", RECIPE.id, 0.9).summaries == 2


def test_unsure_records_come_into_a_batch_of_their_own(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "word1 UNSURE", "b": "word2", "c": "word3"})
    run(sqlite_store, FakeEngine())
    with pytest.raises(
        SourceError, match="no record of 'record' has failed or has a summary with a confidence below 0.1"
    ):
        batch_to_redo(sqlite_store, "record", RECIPE.id, 0.1, "other")
    with pytest.raises(SourceError, match=f"2 records .* recipe {RECIPE.id} has a summary or an error of each already"):
        batch_to_redo(sqlite_store, "record", RECIPE.id, 0.9, RECIPE.id)
    name = batch_to_redo(sqlite_store, "record", RECIPE.id, 0.9, "other")
    assert name == "batch-000002"
    assert [member.version.key for member in sqlite_store.states.members(Scope(RECIPE.id, name))] == ["b", "c"]
    assert name not in sqlite_store.states.unfinished("record", RECIPE.id, 3), (
        "the first recipe has nothing to do in it"
    )
    assert sqlite_store.states.unfinished("record", "another", 3)[name] == 2
    assert sqlite_store.reports.status("record", RECIPE.id)["completed"] == 3
    put(sqlite_store, {"d": "word4"})
    run(sqlite_store, FakeEngine())
    assert sqlite_store.reports.status("record", RECIPE.id)["completed"] == 4


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """The built-in model twice: the confidence of the first is always low, that of the second high."""
    folders = []
    for name, bias in (("low", -50), ("high", 50)):
        folder = tmp_path / name
        shutil.copytree(MODEL, folder)
        card = json.loads((folder / "dobby.json").read_text())
        card["calibration"] = {"meaning": "m", "bias": bias, "mean_logprob": 0, "min_logprob": 0, "log_tokens": 0}
        (folder / "dobby.json").write_text(json.dumps(card))
        folders.append(folder)
    return folders[0], folders[1]


@pytest.mark.slow
def test_a_run_says_how_many_are_unsure_and_the_printed_command_does_only_those(
    dobby: Dobby, models: tuple[Path, Path]
) -> None:
    fill(CODE)
    low, high = models
    ran = dobby("summarize", *THEIRS, "--model", low, "--device", "cpu", "--max-new-tokens", 6)
    assert ran.code == 0, ran.err
    settled = dobby("status", *THEIRS[:4], "--json").json
    done = settled["completed"]
    assert (settled["summaries_unsure"], settled["summaries_cut_off"]) == (done, done)
    assert done > 0
    said = next(line for line in ran.out.splitlines() if line.startswith("Unsure"))
    assert said.startswith(
        f"Unsure, with a confidence below {PipelineSettings().unsure_below:g}: {done} of {done} summar"
    )
    assert f"Cut off at the token limit: {done} of {done} summaries; raise it with --max-new-tokens N" in ran.out
    command = next(line.split() for line in ran.out.splitlines() if line.startswith("  dobby redo"))
    assert command[:4] == ["dobby", "redo", "--model", "dobby-code-73m"]
    exported = dobby("export", *THEIRS[:4], "--format", "jsonl", "--unsure")
    assert len(exported.out.splitlines()) == done
    same = dobby(*command[1:2], "--model", low, "--device", "cpu", "--max-new-tokens", 6, *command[4:])
    assert same.code != 0
    assert "the same model and prompt would give the same summaries" in same.err
    again = dobby(*command[1:2], "--model", high, "--device", "cpu", *command[4:], "--json")
    assert again.code == 0, again.err
    assert again.json["settled"] == done
    twice = dobby(*command[1:2], "--model", high, "--device", "cpu", *command[4:], "--json")
    assert (twice.code, twice.out) == (1, "")
    assert f"recipe {again.json['recipe']} has a summary or an error of each already" in twice.err
    in_use = dobby("status", *THEIRS[:4], "--json").json
    assert (in_use["recipe"], in_use["completed"]) == (again.json["former_recipe"], done)
    made = again.json["recipe"]
    none = dobby(*command[1:2], "--model", low, "--device", "cpu", "--recipe", made, *command[4:])
    assert "no record of 'code_data' has failed or has a summary with a confidence below 0.1" in none.err


def test_failed_records_are_redone_too_and_what_the_other_model_has_done_is_not(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "word1 ECHO", "b": "word2 FAIL", "c": "word3", "d": ""})
    run(sqlite_store, FakeEngine())
    batch = batch_to_redo(sqlite_store, "record", RECIPE.id, 0.1, OTHER.id)
    scope = Scope(OTHER.id, batch)
    assert [member.version.key for member in sqlite_store.states.members(scope)] == ["a", "b"]
    put(sqlite_store, {"f": "word5 FAIL"})
    run(sqlite_store, FakeEngine(), recipe=OTHER)
    run(sqlite_store, FakeEngine())
    with pytest.raises(SourceError, match=f"3 records failed .* recipe {OTHER.id} has a summary or an error of each"):
        batch_to_redo(sqlite_store, "record", RECIPE.id, 0.1, OTHER.id)


@pytest.mark.slow
def test_an_unsure_file_is_redone_as_it_is(dobby: Dobby, models: tuple[Path, Path]) -> None:
    Path("src").mkdir()
    Path("src/a.py").write_text("\n\n".join(CODE.values()))
    here = ("--database", "sqlite:///code.db", "--device", "cpu", "--max-new-tokens", 6)
    assert dobby("ingest", "src", *here[:2]).code == 0
    assert dobby("summarize", "--model", models[0], *here).code == 0
    unsure = [row["key"] for row in dobby("list", "--unsure", *here[:2], "--json").json["records"]]
    assert {"src/a.py", "src/a.py::f0"} <= set(unsure)
    redone = dobby("redo", "--model", models[1], *here, "--json").json
    rows = dobby("list", "--recipe", redone["recipe"], *here[:2], "--json").json["records"]
    assert {row["key"] for row in rows if row["state"] == "completed"} == set(unsure)
    assert {row["state"] for row in dobby("list", *here[:2], "--json").json["records"]} == {"completed"}


def test_where_nothing_is_summarised_there_is_nothing_to_redo(dobby: Dobby) -> None:
    fill(CODE)
    answer = dobby("redo", *THEIRS, "--model", MODEL)
    assert (answer.code, answer.out) == (1, "")
    assert "no record of 'code_data' has been summarised yet (run dobby summarize --database" in answer.err


@pytest.mark.slow
def test_a_misspelt_recipe_is_named(dobby: Dobby, models: tuple[Path, Path]) -> None:
    fill(CODE)
    dobby("summarize", *THEIRS, "--model", models[0], "--device", "cpu", "--max-new-tokens", 6)
    answer = dobby("redo", *THEIRS, "--model", models[1], "--device", "cpu", "--recipe", "nope")
    assert answer.code != 0
    assert "there is no recipe 'nope'" in answer.err
