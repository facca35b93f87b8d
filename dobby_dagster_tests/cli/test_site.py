from __future__ import annotations

from pathlib import Path

import pytest

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import fill

TREE = {
    "pkg/a.py": "def f():\n    return 1\n\n\nclass A:\n    def g(self):\n        return 2\n",
    "pkg/b.py": "def h(): pass\n",
}


def ingested(dobby: Dobby) -> None:
    for name, text in TREE.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    assert dobby("ingest", "pkg", "--database", "sqlite:///code.db").code == 0


def summarized() -> None:
    store = CozoStore.open(DatabaseSettings(url="sqlite:///code.db"))
    store.recipes.remember(RECIPE)
    run(store, FakeEngine())
    store.close()


def test_a_site_of_an_ingested_tree(dobby: Dobby) -> None:
    ingested(dobby)
    summarized()
    answer = dobby("site", "public", "--database", "sqlite:///code.db")
    assert (answer.code, answer.out) == (0, "public/index.html\n")
    assert "4 records: 10 files written, 0 unchanged, 0 removed" in answer.err
    assert "It says def h(): pass indeed." in Path("public/pages/pkg/b.py.html").read_text()
    again = dobby("site", "public", "--database", "sqlite:///code.db", "--json").json
    assert {**again, "seconds": 0} == {
        "index": "public/index.html", "records": 4, "written": 0, "unchanged": 10, "removed": 0, "seconds": 0
    }  # fmt: skip


def test_a_part_under_a_title_without_contents(dobby: Dobby) -> None:
    ingested(dobby)
    answer = dobby(
        "site", "public", "pkg/a.py", "--title", "Mine", "--without-content", "--database", "sqlite:///code.db"
    )
    assert answer.code == 0, answer
    index = Path("public/index.html").read_text()
    assert "<title>Mine</title>" in index
    assert "No summary: pending" in index
    assert "return 1" not in index


@pytest.mark.slow
def test_a_relation_of_ones_own(dobby: Dobby) -> None:
    fill({"x/one": "def one(): return 1", "x/two": "def two(): return 2"})
    answer = dobby("site", "public", "--relation", "code_data", "--key", "id", "--database", "sqlite:///code.db")
    assert answer.code == 2, "the columns are remembered from the first summary, as with dobby list"
    answer = dobby(
        "summarize",
        "--relation",
        "code_data",
        "--key",
        "id",
        "--model",
        "dobby-code-11m",
        "--database",
        "sqlite:///code.db",
    )
    assert answer.code == 0, answer
    assert dobby("site", "public", "--database", "sqlite:///code.db").code == 0
    assert "def one()" in "".join(path.read_text() for path in Path("public").rglob("*.html"))


def test_what_can_not_be_done_is_one_line(dobby: Dobby) -> None:
    ingested(dobby)
    for arguments, message in (
        (["pkg"], "error: 'pkg' holds 'a.py' and no site of Dobby's (name a new or an empty folder)"),
        (["pkg/a.py"], "error: 'pkg/a.py' is not a folder (name a new or an empty folder)"),
        (["public", "nosuch"], "error: no key of relation 'record' begins with 'nosuch'"),
        (["public", "--recipe", "x"], "error: there is no recipe 'x'"),
    ):
        answer = dobby("site", *arguments, "--database", "sqlite:///code.db")
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith(message)
        assert len(answer.err.splitlines()) == 1
    assert not Path("public").exists()


def test_a_site_without_a_summary_says_so(dobby: Dobby) -> None:
    ingested(dobby)
    answer = dobby("site", "out", "--database", "sqlite:///code.db")
    assert answer.code == 0
    assert "nothing has been summarised yet, so that it shows the contents only: dobby summarize" in answer.err


def test_an_empty_relation_names_the_way_out(dobby: Dobby) -> None:
    CozoStore.open(DatabaseSettings(url="sqlite:///code.db")).close()
    answer = dobby("site", "public", "--database", "sqlite:///code.db")
    assert answer.code == 1
    assert "relation 'record' has no records (dobby ingest PATH" in answer.err
