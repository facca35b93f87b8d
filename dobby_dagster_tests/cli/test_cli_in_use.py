"""What is in use: remembered by the database, set by ``dobby init``, and written into the commands that are printed."""

import csv
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.cli.options import Given
from dobby_dagster.cli.recipe_options import recipe_options
from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.remembered import REMEMBERED, as_environment, memory_of, remembered_values, value_of
from dobby_dagster.domain.settings import DEFAULT_MODEL, DatabaseSettings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.inference.recipe import recipe_for
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import cozo_client
from dobby_dagster.store.ledger.schema import set_meta
from dobby_dagster_tests.helpers.command import PROCESS, Dobby
from dobby_dagster_tests.helpers.records import fill

CODE = {f"k{i}": f"def add_{i}(a):\n    return a + {i}\n" for i in range(3)}
WHERE = ("--database", "sqlite:///code.db")
NAMED = (*WHERE, "--relation", "code_data", "--key", "id", "--content", "content")


def pasted(dobby: Dobby, line: str) -> Any:
    """What the printed command ``line`` does; those that go on for ever are looked at by others."""
    words = shlex.split(line)
    assert words[0] == "dobby"
    return dobby(*words[1:])


def printed(text: str) -> list[str]:
    return [found.strip() for found in re.findall(r"^ *(?:.*: )?(dobby (?!.*PATH).+)$", text, re.MULTILINE)]


@pytest.mark.usefixtures("default_model")
@pytest.mark.slow
def test_a_database_of_before_keeps_the_model_that_was_the_default(
    dobby: Dobby, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(CODE)
    monkeypatch.setenv("DOBBY_INFERENCE_SECOND_TRY", "never")
    first = dobby("summarize", *NAMED, "--model", SMALL_MODEL, "--json")
    assert (first.code, first.json["inferred"]) == (0, 3), first.err
    monkeypatch.delenv("DOBBY_INFERENCE_SECOND_TRY")
    store = CozoStore.open(DatabaseSettings(url=WHERE[1]))
    set_meta(store.connection, "in_use", store.memory | {"in_use": {}})  # as it was stored when these were the defaults
    set_meta(store.connection, "schema_version", 9)
    store.close()
    again = dobby("summarize", *WHERE, "--json")
    assert (again.code, again.json["inferred"]) == (0, 0), again.err
    assert dobby("config", *WHERE, "--json").json["model.path"]["value"] == SMALL_MODEL
    other = dobby("summarize", *WHERE, "--model", DEFAULT_MODEL, "--json")
    assert (other.code, other.json["inferred"]) == (0, 3), other.err
    assert dobby("config", *WHERE, "--json").json["model.path"]["value"] == DEFAULT_MODEL


@pytest.mark.slow
def test_what_was_named_once_is_remembered(dobby: Dobby, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fill(CODE)
    fill({"-x": "def dashed(): return 1", "it's 1": "def quoted(): return 2"})
    first = dobby("summarize", *NAMED)
    assert first.code == 0, first.err
    assert dobby("status", *WHERE, "--json").json["relation"] == "code_data"
    assert dobby("summarize", *WHERE, "--json").json["inferred"] == 0
    origin = dobby("config", *WHERE, "--json").json["source.key"]
    assert origin == {"value": "id", "origin": "remembered in the database"}
    assert dobby("status", *WHERE, "--relation", "code_dat").code == 1
    for line in printed(first.out):
        if " dev" not in line:
            assert pasted(dobby, line).code == 0, line
    for key in ("-x", "it's 1"):
        from dobby_dagster.cli.database_in_use import opened

        monkeypatch.setattr("sys.argv", ["dobby"])
        use = opened(Given({"database.url": WHERE[1]}))
        assert pasted(dobby, use.command("show", key)).code == 0


@pytest.mark.usefixtures("default_model")
def test_options_that_a_file_contradicts_are_printed(dobby: Dobby, monkeypatch: pytest.MonkeyPatch) -> None:
    from dobby_dagster.cli.database_in_use import opened

    fill(CODE)
    fill(CODE, relation="other")
    Path("my.toml").write_text('[database]\nurl = "sqlite:///code.db"\n[source]\nrelation = "other"\nkey = "id"\n')
    monkeypatch.setattr("sys.argv", ["dobby"])
    use = opened(Given({"source.relation": "code_data"}, Path("my.toml")))
    assert use.command("status") == "dobby status --config my.toml --relation code_data"
    assert pasted(dobby, use.command("status --json")).json["relation"] == "code_data"
    plain = opened(Given({}, Path("my.toml")))
    assert plain.command("dev") == "dobby dev --config my.toml"
    monkeypatch.setenv("DOBBY_SOURCE_CONTENT", "content")
    assert opened(Given({"source.key": "id"}, Path("my.toml"))).command("dev") == "dobby dev --config my.toml"


@pytest.mark.usefixtures("default_model")
@pytest.mark.slow
def test_printed_commands_use_the_model_that_is_spoken_of(dobby: Dobby) -> None:
    fill(CODE)
    first = dobby("summarize", *NAMED, "--show", 0)
    assert "In use from now on" not in first.err
    fill({"k0": "def sub(a):\n    return a - 1\n"})
    other = dobby("summarize", *WHERE, "--model", SMALL_MODEL, "--show", 0)
    assert f"In use from now on: model.path = {SMALL_MODEL} (before: {DEFAULT_MODEL})" in other.err
    assert dobby("summarize", *WHERE, "--json").json["inferred"] == 0
    store = CozoStore.open(DatabaseSettings(url=WHERE[1]))
    used, former = (row["recipe"] for row in store.recipes.all())
    store.close()
    shown = dobby("status", *WHERE, "--recipe", former)
    [line] = [line for line in shown.out.splitlines() if "to summarise:" in line]
    assert line == f"1 record to summarise: dobby summarize --model {DEFAULT_MODEL} {' '.join(WHERE)}"
    assert f"In use is {SMALL_MODEL} with the prompt summary@2, recipe {used}: dobby summarize" in shown.out
    again = pasted(dobby, f"{line.partition(': ')[2]} --json")
    assert (again.code, again.json["inferred"]) == (0, 1)
    assert dobby("status", *WHERE, "--json").json["recipe"] == former


def test_the_options_for_a_recipe_are_those_that_give_it(dobby: Dobby) -> None:
    def row(**settings: object) -> dict[str, Any]:
        made = recipe_for(load_settings(settings, environment={}).settings)
        return {"recipe": made.id, "model": made.model, "prompt": made.prompt, "settings": made.settings}

    small = load_settings({"model.path": SMALL_MODEL, "inference.max_new_tokens": 20}, environment={}).settings
    assert recipe_options(small, row(**{"model.path": SMALL_MODEL, "inference.max_new_tokens": 20})) == ""
    limit = row(**{"model.path": SMALL_MODEL})["settings"]["max_new_tokens"]
    assert recipe_options(small, row(**{"model.path": SMALL_MODEL})) == f" --max-new-tokens {limit}"
    assert recipe_options(small, row()) == f" --model {DEFAULT_MODEL} --max-new-tokens {limit}"
    assert recipe_options(small, row(**{"inference.second_try": "never"})) is None
    assert recipe_options(small, row() | {"model": "elsewhere"}) is None


@pytest.mark.slow
def test_a_hint_names_a_command_that_works(dobby: Dobby) -> None:
    fill(CODE)
    dobby("summarize", *NAMED)
    answer = dobby("failed", "release", "k0", *WHERE)
    assert answer.code == 1
    [command] = re.findall(r"\(see (dobby .*)\)", answer.err)
    assert command == "dobby failed list --database sqlite:///code.db"
    assert pasted(dobby, command).code == 0
    unnamed = dobby("status", *WHERE, "--relation", "other")
    fill(CODE, relation="other")
    assert unnamed.code == 1
    missing = dobby("status", *WHERE, "--relation", "other")
    assert "has no column 'key' (name its key column by the setting source.key; there is: content, id)" in missing.err


@pytest.mark.parametrize("program", ["dobby", "../dobby/.venv/bin/dobby"])
def test_a_command_in_a_hint_is_completed_once(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    from dobby_dagster.cli.database_in_use import opened, pasteable

    fill(CODE)
    monkeypatch.setattr("sys.argv", [program])
    use = opened(Given({"database.url": WHERE[1]}))
    line = use.command("list")
    assert line == f"{program} list --database sqlite:///code.db"
    assert pasteable(f"see {line}") == f"see {line}"
    assert pasteable("see dobby list") == f"see {line}"
    Path("dobby.toml").write_text('[database]\nurl = "sqlite:///code.db"\n[source]\nkey = "id"\n')
    other = opened(Given({"source.relation": "code_data"}))
    assert other.command("list") == f"{program} list --relation code_data"
    assert pasteable(other.command("list")) == other.command("list")


def test_memory_is_lower_than_a_file_and_never_holds_an_address() -> None:
    settings = load_settings(
        {"source.relation": "code", "source.key": "id", "model.url": "http://127.0.0.1:1/v1", "model.served_name": "m",
         "model.api_key": "geheim", "prompt.id": "functionality"},
        environment={},
    ).settings  # fmt: skip
    memory = json.loads(json.dumps(memory_of(settings, {"columns": {"older": {"source.key": "k"}}})))
    assert "geheim" not in json.dumps(memory)
    assert "127.0.0.1" not in json.dumps(memory)
    assert memory["columns"]["older"] == {"source.key": "k"}
    again = load_settings({}, environment={}, memory=memory)
    assert (again.settings.source.relation, again.settings.source.key) == ("code", "id")
    assert again.settings.model.url == ""
    assert again.origins["source.key"] == "remembered in the database"
    over = load_settings({"source.relation": "older"}, environment={"DOBBY_PROMPT_ID": "summary"}, memory=memory)
    assert (over.settings.source.key, over.settings.prompt.id) == ("k", "summary")
    assert remembered_values({"in_use": {"model.url": "http://evil"}, "columns": 3}, {}) == {
        "source.relation": "record"
    }
    with pytest.raises(SettingsError, match="remembered in the database"):
        load_settings({}, environment={}, memory={"relation": "no relation;"})


def test_settings_survive_the_environment_of_another_process() -> None:
    settings = load_settings(
        {"source.relation": "code", "source.key": "id", "source.metadata": ("a", "b"), "source.allow_triggers": True,
         "inference.reproducible": True, "model.path": "m"},
        environment={},
    ).settings  # fmt: skip
    again = load_settings({}, environment=as_environment(settings, REMEMBERED)).settings
    assert {name: value_of(again, name) for name in REMEMBERED} == {n: value_of(settings, n) for n in REMEMBERED}


def test_ingest_puts_dobbys_own_relation_in_use(dobby: Dobby) -> None:
    store = CozoStore.open(DatabaseSettings(url="sqlite:///code.db"))
    fill(CODE)
    store.remember(load_settings({"source.relation": "code_data", "source.key": "id"}, environment={}).settings)
    assert dobby("status", *WHERE, "--json").json["relation"] == "code_data"
    Path("a.py").write_text("def f(): pass\n")
    assert "1 file holds 1 record: 1 written" in dobby("ingest", "a.py", *WHERE).out
    status = dobby("status", *WHERE, "--json").json
    assert (status["relation"], status["rows"], status["unplanned"]) == ("record", 1, 1)


def test_init_writes_a_file_that_every_command_reads(dobby: Dobby) -> None:
    fill(CODE)
    answer = dobby("init", *NAMED)
    assert answer.code == 0, answer.err
    assert load_settings(environment={}).settings.source.key == "id"
    assert dobby("status", "--json").json["rows"] == 3
    again = dobby("init", *NAMED)
    assert again.code == 1
    assert "'dobby.toml' exists already (--force replaces it)" in again.err
    assert dobby("init", "--force", *NAMED).code == 0
    wrong = dobby("init", "--force", *WHERE, "--relation", "code_dat")
    assert wrong.code == 1
    assert "did you mean 'code_data'?" in wrong.err
    assert load_settings(environment={}).settings.source.relation == "code_data", "and the file is as it was"


def test_rows_that_no_plan_has_seen_are_there(dobby: Dobby) -> None:
    fill(CODE)
    status = dobby("status", *NAMED[:4], "--relation", "code_data", "--json")
    assert status.code == 1, "the key column is not known yet"
    dobby("init", *NAMED)
    counts = dobby("status", "--json").json
    assert (counts["rows"], counts["unplanned"], counts["records"]) == (3, 3, 0)
    assert "3 records to summarise: dobby summarize" in dobby("status").out
    entries = [json.loads(line) for line in dobby("export", "-f", "jsonl").out.splitlines()]
    assert [(entry["key"], entry["state"]) for entry in entries] == [(key, "pending") for key in CODE]
    assert "not planned yet" in dobby("show", "k1").out
    near = dobby("show", "k11")
    assert near.code == 1
    assert "did you mean 'k1'?" in near.err


UNKNOWN: dict[str, tuple[list[str], str]] = {
    "recipe of status": (["status", "--recipe", "TYPO"], "there is no recipe 'TYPO'"),
    "recipe of export": (["export", "--recipe", "TYPO"], "there is no recipe 'TYPO'"),
    "recipe of purge": (["purge", "TYPO", "--yes"], "there is no recipe 'TYPO'"),
    "batch of failed": (["failed", "list", "--batch", "TYPO"], "there is no batch 'TYPO' of 'code_data'"),
    "batch of backfill": (["backfill", "TYPO"], "there is no batch 'TYPO' of 'code_data'"),
    **{
        f"relation of {' '.join(command)}": ([*command, "--relation", "code_dat"], "(did you mean 'code_data'?)")
        for command in (
            ["status"], ["preview"], ["export"], ["show", "k1"], ["history", "k9"], ["failed", "list"],
            ["failed", "release"], ["summarize"], ["backfill", "--all"], ["dev"],
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_names_are_errors_everywhere(dobby: Dobby, name: str) -> None:
    fill(CODE)
    dobby("init", *NAMED)
    arguments, message = UNKNOWN[name]
    answer = dobby(*arguments)
    assert (answer.code, answer.out) == (1, "")
    assert message in answer.err
    assert answer.err.count("error: ") == 1


@pytest.mark.slow
def test_current_and_former_summaries_and_deleted_rows(dobby: Dobby) -> None:
    fill(CODE)
    dobby("init", *NAMED)
    before = dobby("summarize", "--json").json
    assert before["completed"] == 3
    fill({"k0": "def other(path):\n    return open(path).read()\n"})
    dobby("summarize")
    fill({"k0": CODE["k0"]})
    dobby("summarize")
    with cozo_client("sqlite:///code.db") as db:
        db.run("?[id] <- [['k2']] :rm code_data {id}")
    shown = dobby("show", "k0", "--json").json
    assert [row["former"] for row in shown["summaries"]] == ["", "content"], "the reverted content's is current, again"
    text = dobby("show", "k0").out
    assert text.index("current") < text.index("former: from earlier content")
    counts = dobby("status", "--json").json
    assert (counts["rows"], counts["records"], counts["deleted"]) == (2, 2, 1)
    assert len(dobby("export", "-f", "jsonl").out.splitlines()) == 2
    dobby("summarize")
    gone = dobby("show", "k2", "--json").json
    assert (gone["state"], [row["former"] for row in gone["summaries"]]) == ("deleted", ["deleted"])


HARMFUL = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1")


def test_an_export_is_harmless_and_goes_where_its_ending_says(dobby: Dobby, tmp_path: Path) -> None:
    fill(dict.fromkeys(HARMFUL, "def f(): pass") | {"a\x1b[31mb": "def g():\n\treturn '\x1b'"})
    dobby("init", *NAMED)
    for ending, begins in (("jsonl", "{"), ("csv", "key,state"), ("md", "# Summaries")):
        name = f"out.{ending}"
        assert dobby("export", "-o", name, "--content").code == 0
        assert Path(name).read_text().startswith(begins)
        refused = dobby("export", "-o", name)
        assert refused.code == 1
        assert f"'{name}' exists already (--force replaces it)" in refused.err
        assert dobby("export", "-o", name, "--force").code == 0
    assert dobby("export", "-o", "out.csv", "-f", "jsonl", "--force").code == 0
    assert Path("out.csv").read_text().startswith("{"), "what --format says comes first"
    dobby("export", "-o", "out.csv", "--force", "--content")
    with Path("out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(HARMFUL) + 1
    assert not [row for row in rows if re.match(r"[\t\r\n]|\s*[=+\-@\uff1d]", row["key"])]
    assert {"metadata", "path", "language", "dobby_version", "content", "size"} <= set(rows[0])
    for form in ("csv", "markdown", "jsonl"):
        seen = dobby("export", "-f", form, "--content")
        assert seen.code == 0
        assert "\x1b" not in seen.out
    assert dobby("export", "-o", "out.parquet", "--content").code == 0
    assert "can't infer the format from the extension of 'out.txt'" in dobby("export", "-o", "out.txt").err


def test_a_database_in_memory_is_refused(dobby: Dobby) -> None:
    Path("a.py").write_text("def f(): pass\n")
    for command in (["ingest", "a.py"], ["summarize"], ["status"]):
        answer = dobby(*command, "--database", "mem://x")
        assert answer.code == 1
        assert "'mem://x' is in memory and lost when this command ends (use sqlite:///PATH)" in answer.err


def test_help_is_grouped_with_examples_and_switches_have_no_type(dobby: Dobby) -> None:
    text = dobby("--help").out
    for words in ("Summarise", "Show results", "Repeat and clean up", "Operate", "Examples", "completion"):
        assert words in text
    for command in ([], ["summarize"], ["failed", "list"], ["purge"]):
        assert "<bool>" not in dobby(*command, "--help").out


@pytest.mark.slow
@pytest.mark.parametrize("command", [["doctor"], ["status"], ["models"], ["config"], ["export"]])
def test_ascii_output_is_no_error(command: list[str]) -> None:
    fill(CODE | {"→": "def arrow(): return '→'"})
    store = CozoStore.open(DatabaseSettings(url="sqlite:///code.db"))
    store.remember(load_settings({"source.relation": "code_data", "source.key": "id"}, environment={}).settings)
    done = subprocess.run(
        [*PROCESS, *command, *(() if command == ["models"] else WHERE)],
        env={"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "HOME": "/tmp", **_python_path()},
        capture_output=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


def _python_path() -> dict[str, str]:
    import os

    return {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}


@pytest.mark.slow
def test_settings_that_no_run_could_use_are_not_remembered(dobby: Dobby) -> None:
    fill(CODE)
    assert dobby("summarize", *NAMED).code == 0
    recipe = dobby("status", *WHERE, "--json").json["recipe"]
    Path("dobby.toml").write_text('[model]\nquantization = "int4"\n')
    failed = dobby("summarize", *WHERE)
    assert failed.code == 1, failed.out
    assert "int4" in failed.err
    Path("dobby.toml").unlink()
    assert dobby("status", *WHERE, "--json").json["recipe"] == recipe
    done = dobby("summarize", *WHERE, "--json")
    assert done.code == 0, done.err
    assert dobby("status", *WHERE, "--json").json["recipe"] == recipe
