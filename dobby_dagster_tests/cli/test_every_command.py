"""What holds for every command of ``dobby``: its exit status when something is wrong, and one document with ``--json``."""

import json
from pathlib import Path

import pytest

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import COMMANDS, Answer, Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put

# What a command needs so that it has something to do; the others need nothing.
ARGUMENTS = {
    "ingest": ["code.py"], "show": ["k0"], "history": ["k0"], "backup": ["copy.db"], "restore": ["made.db"],
    "backfill": ["--all"], "redo": ["--below", "0.9"], "purge": ["--old", "--yes"], "watch": ["--once"],
    "try": ["code.py", "--model", "dobby-code-11m"], "check": ["code.py"],
    "graph": ["k0"], "search": ["k0"], "site": ["public"],
}  # fmt: skip
# These make a database, or say that there is none; the others refuse.
WITHOUT_A_DATABASE = {"init", "ingest", "restore", "config", "doctor", "migrate"}


def line_of(name: str) -> list[str]:
    return [*name.split(), *ARGUMENTS.get(name, [])]


def having(option: str) -> list[str]:
    return [name for name, command in COMMANDS.items() if option in {o for p in command.params for o in p.opts}]


def assert_refused(answer: Answer, status: int) -> None:
    assert answer.code == status, answer
    assert answer.out == ""
    assert [line[:7] for line in answer.err.splitlines()] == ["error: "], answer.err
    assert "fault of dobby" not in answer.err


@pytest.fixture
def _filled() -> None:
    """A database with three records, of which one failed."""
    store = CozoStore.open(DatabaseSettings(url="sqlite:///code.db"))
    put(store, {"k0": "def f(): return 0", "k1": "def g(): return 1", "k2": "FAIL"})
    store.recipes.remember(RECIPE)
    run(store, FakeEngine())
    store.close()
    Path("code.py").write_text("def f():\n    return 1\n")


@pytest.mark.parametrize("name", ["", "failed", *COMMANDS])
def test_help(dobby: Dobby, name: str) -> None:
    answer = dobby(*name.split(), "--help")
    assert (answer.code, answer.err) == (0, "")
    assert "Usage: dobby" in answer.out


@pytest.mark.parametrize("name", ["", "failed", *COMMANDS])
def test_an_unknown_option_is_a_usage_error(dobby: Dobby, name: str) -> None:
    assert_refused(dobby(*line_of(name), "--nosuch"), 2)


def test_an_unknown_command_is_a_usage_error(dobby: Dobby) -> None:
    assert_refused(dobby("summarise"), 2)


@pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if any(p.required for p in c.params)])
def test_a_missing_argument_is_a_usage_error(dobby: Dobby, name: str) -> None:
    assert_refused(dobby(*name.split()), 2)


@pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if not any(p.nargs == -1 for p in c.params)])
def test_an_argument_too_many_is_a_usage_error(dobby: Dobby, name: str) -> None:
    answer = dobby(*name.split(), "a", "b", "c")
    assert_refused(answer, 2)
    assert "unexpected extra argument" in answer.err


@pytest.mark.parametrize("name", sorted({*having("--database")} - WITHOUT_A_DATABASE))
def test_a_database_that_is_not_there_is_refused_and_not_made(dobby: Dobby, name: str) -> None:
    assert_refused(dobby(*line_of(name), "--database", "sqlite:///typo.db"), 1)
    assert not Path("typo.db").exists()


@pytest.mark.parametrize("name", sorted({*having("--database")} - {"config", "doctor"}))
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(dobby: Dobby, name: str) -> None:
    Path("notes.txt").write_text("these are my notes, nothing else")
    Path("code.py").write_text("def f():\n    return 1\n")
    CozoStore.open(DatabaseSettings(url="sqlite:///made.db")).close()
    assert_refused(dobby(*line_of(name), "--database", "sqlite:///notes.txt"), 1)
    assert Path("notes.txt").read_text() == "these are my notes, nothing else"


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize(
    "name", [name for name in having("--json") if name not in ("adapt", "check", "diff", "graph")]
)  # they need more
def test_json_is_one_document_and_nothing_else(dobby: Dobby, name: str) -> None:
    where = ["--database", "sqlite:///code.db"] if name in having("--database") else []
    answer = dobby(*line_of(name), *where, "--json")
    assert answer.code == 0, answer
    json.loads(answer.out)


def test_commands_that_print_for_people_only() -> None:
    assert COMMANDS.keys() - having("--json") == {
        "init",
        "export",
        "report",
        "dev",
        "monitor",
        "mcp",
        "backup",
        "restore",
    }
