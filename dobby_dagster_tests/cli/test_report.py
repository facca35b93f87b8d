"""``dobby report``: what it covers, where it writes, and what it refuses."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.inference import optional_packages
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import PROCESS, Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.model_server import Reply, Scripted, said
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put
from dobby_dagster_tests.helpers.report_html import Parts

WHERE = ("--database", "sqlite:///code.db")


@pytest.fixture(autouse=True)
def _filled() -> None:
    """Thirty records in two batches, of which one failed."""
    store = CozoStore.open(DatabaseSettings(url="sqlite:///code.db"))
    put(store, {f"k{i:02d}": f"def f(): return {i}" for i in range(29)} | {"z": "FAIL"})
    store.recipes.remember(RECIPE)
    run(store, FakeEngine())
    store.close()


def test_a_report_on_everything_is_written_under_its_default_name(dobby: Dobby) -> None:
    answer = dobby("report", *WHERE)
    assert (answer.code, answer.out) == (0, "")
    assert answer.err == "a report on 30 records written to dobby-report.html\n"
    page = Path("dobby-report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "sqlite:///code.db" in page


def test_an_existing_file_is_kept_unless_it_is_forced(dobby: Dobby) -> None:
    Path("mine.html").write_text("mine")
    refused = dobby("report", *WHERE, "-o", "mine.html")
    assert refused.code == 1
    assert "error: 'mine.html' exists already (--force replaces it)" in refused.err
    assert Path("mine.html").read_text() == "mine"
    assert dobby("report", *WHERE, "-o", "mine.html", "--force").code == 0
    assert "Dobby report" in Path("mine.html").read_text(encoding="utf-8")
    assert dobby("report", *WHERE, "-o", "nosuch/mine.html").code == 1


def test_a_file_name_that_is_not_utf_8(dobby: Dobby) -> None:
    answer = dobby("report", *WHERE, "-o", "caf\udce9\u202e.html")
    assert (answer.code, answer.err) == (0, "a report on 30 records written to caf\\udce9\\u202e.html\n")
    assert Path("caf\udce9\u202e.html").is_file()


def test_one_batch_or_one_run(dobby: Dobby) -> None:
    batch = dobby("report", *WHERE, "--batch", "batch-000002", "-o", "batch.html")
    assert batch.err == "a report on 10 records written to batch.html\n"
    whole = dobby("report", *WHERE, "--run", "ru", "-o", "run.html")
    assert whole.err == "a report on 30 records written to run.html\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--batch", "batch-000009"), "there is no batch 'batch-000009' of 'record'"),
        (("--run", "nosuch"), "no run that committed anything begins with 'nosuch'"),
        (("--run", "\udcff\x1b[31m"), "begins with '\\udcff\\x1b[31m'"),
        (("--batch", ""), "there is no batch ''"),
        (("--run", "r", "--batch", "batch-000001"), "give --batch or --run"),
        (("--recipe", "nosuch"), "there is no recipe 'nosuch'"),
        (("--relation", "nosuch"), "nosuch"),
    ],
)
def test_what_is_not_there_is_named(dobby: Dobby, options: tuple[str, ...], message: str) -> None:
    answer = dobby("report", *WHERE, *options)
    assert answer.code == 1
    assert message in answer.err
    assert not Path("dobby-report.html").exists()


def test_without_matplotlib_it_says_what_to_install(dobby: Dobby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional_packages, "find_spec", lambda name: None)
    answer = dobby("report", *WHERE)
    assert answer.code == 1
    assert "matplotlib is not installed: pip install 'dobby-dagster[report]'" in answer.err


def test_a_database_without_any_summary(dobby: Dobby) -> None:
    CozoStore.open(DatabaseSettings(url="sqlite:///empty.db")).close()
    answer = dobby("report", "--database", "sqlite:///empty.db")
    assert (answer.code, answer.err) == (0, "a report on 0 records written to dobby-report.html\n")


def slow_answer(number: int, body: dict[str, Any]) -> Reply:
    time.sleep(0.2)
    return said()


@pytest.mark.slow
def test_a_report_beside_a_run_of_another_process_and_one_on_that_run(dobby: Dobby) -> None:
    store = CozoStore.open(DatabaseSettings(url="sqlite:///dobby.db"))
    put(store, {f"k{i:03d}": f"def f{i}(): return {i}" for i in range(150)})
    store.close()
    with Scripted(slow_answer) as server:
        Path("dobby.toml").write_text(
            f'[pipeline]\nbatch_size = 50\nchunk_size = 5\n[inference]\nslots = 4\n[model]\nurl = "{server.url}"\n'
            'served_name = "small"\n'
        )
        working = subprocess.Popen([*PROCESS, "summarize"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pages = []
        while working.poll() is None:
            answer = dobby("report", "--force")
            assert answer.code == 0, answer.err
            pages.append(Parts(Path("dobby-report.html").read_text(encoding="utf-8")).text)
    assert working.returncode == 0, "the run was not disturbed"
    during = [page for page in pages if "At work: 1 run, with" in page]
    assert during, pages[-1][:500]
    [seen] = CozoStore.open(DatabaseSettings(url="sqlite:///dobby.db"), create=False).report_pages.runs("")
    assert dobby("report", "--force", "--run", seen[:8]).err == "a report on 150 records written to dobby-report.html\n"
    text = " ".join(Parts(Path("dobby-report.html").read_text(encoding="utf-8")).text.split())
    assert "completed 150 100.0 %" in text
    assert "At work" not in text
