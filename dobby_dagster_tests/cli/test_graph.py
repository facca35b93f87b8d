"""``dobby graph``: what is around a record, for people, as JSON and as a flowchart."""

import json
from pathlib import Path

import pytest

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import cozo_client
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.file_tree import tree
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run

WHERE = ("--database", "sqlite:///code.db")
FILES = {
    "src/a.py": "import json\nfrom b import g\ndef f():\n    g()\n\ndef r():\n    r()\n",
    "src/b.py": "def g():\n    h()\n\ndef h():\n    g()\n",
    "src/many.py": "from b import h\n" + "".join(f"def c{i}():\n    h()\n" for i in range(145)),
}


@pytest.fixture
def _ingested(dobby: Dobby) -> None:
    tree(Path(), FILES)
    answer = dobby("ingest", "src", *WHERE)
    assert "The code graph has 7" not in answer.err
    assert "The code graph has " in answer.out


@pytest.mark.usefixtures("_ingested")
def test_callers_callees_and_what_contains_a_function(dobby: Dobby) -> None:
    answer = dobby("graph", "a.py::f", *WHERE, "--depth", "3")
    assert answer.code == 0
    assert answer.out == (
        "src/a.py::f\n  within src/a.py, src\n\ncalls:\n  src/b.py::g  import 0.98\n    src/b.py::h  grammar 0.98\n"
        "      src/b.py::g  grammar 0.98, shown elsewhere\n"
    )
    assert "src/a.py::r  grammar 0.98, shown elsewhere" in dobby("graph", "a.py::r", *WHERE, "--depth", "6").out
    file = dobby("graph", "src/a.py", *WHERE).out
    assert "parts:\n  src/a.py::f\n  src/a.py::r\n" in file
    assert "imports:\n  src/b.py  import 0.98\n  src/b.py::g  import 0.98\n  package:json  import 0.90\n" in file
    assert "parts:\n  src/a.py\n  src/b.py\n" in dobby("graph", "src", *WHERE).out
    assert dobby("graph", "json", *WHERE).out == "package:json\n\nimported by:\n  src/a.py  import 0.90\n"


def test_an_overload_leads_to_its_implementation(dobby: Dobby) -> None:
    overloads = (
        "@overload\ndef f(x: int): ...\n@overload\ndef f(x: str): ...\ndef f(x): pass\ndef g(): f(1)\ndef f2(): ...\n"
    )
    tree(Path(), {"src/a.py": overloads})
    assert dobby("ingest", "src", *WHERE).code == 0
    assert dobby("graph", "a.py::f", *WHERE).out == (
        "src/a.py::f\n  within src/a.py, src\n  of the same name: src/a.py::f#2, src/a.py::f#3\n"
        "  no calls and no imports are known\n"
    )
    assert dobby("graph", "a.py::f#3", *WHERE).out == (
        "src/a.py::f#3\n  within src/a.py, src\n  of the same name: src/a.py::f, src/a.py::f#2\n\n"
        "called by:\n  src/a.py::g  grammar 0.98\n"
    )
    assert dobby("graph", "a.py::f#3", "--json", *WHERE).json["same_name"] == ["src/a.py::f", "src/a.py::f#2"]
    assert dobby("graph", "a.py::f2", "--json", *WHERE).json["same_name"] == []


def test_a_folder_is_not_the_package_of_the_same_name(dobby: Dobby) -> None:
    tree(Path(), {"json/a.py": "import json\ndef f(): pass\n", "json/b.py": "from json.a import f\n\ndef g(): f()\n"})
    assert dobby("ingest", "json", *WHERE).code == 0
    assert "imported by" not in dobby("graph", "json", *WHERE).out
    assert "json/a.py" in dobby("graph", "package:json", *WHERE).out


@pytest.mark.usefixtures("_ingested")
def test_a_sample_of_a_tree_that_is_stored_takes_no_edge_away(dobby: Dobby) -> None:
    before = dobby("graph", "src/b.py::h", *WHERE, "--json").out
    assert "0 removed" in dobby("ingest", "src", "--limit", 3, *WHERE).out.replace("no edge", "0 removed")
    assert dobby("graph", "src/b.py::h", *WHERE, "--json").out == before


@pytest.mark.usefixtures("_ingested")
def test_each_record_is_shown_with_its_summary(dobby: Dobby) -> None:
    store = CozoStore.open(DatabaseSettings(url=WHERE[1]))
    store.recipes.remember(RECIPE)
    run(store, FakeEngine())
    said = {row["key"]: row["summary"] for row in store.reports.entries("record", RECIPE.id)}
    answer = dobby("graph", "a.py::f", *WHERE)
    assert f"src/a.py::f\n  “{said['src/a.py::f']}”\n  within" in answer.out
    assert f"src/b.py::g  import 0.98\n    “{said['src/b.py::g']}”\n" in answer.out
    [edge] = json.loads(dobby("graph", "a.py::f", *WHERE, "--json").out)["callees"]["edges"]
    assert edge["summary"] == said["src/b.py::g"]


@pytest.mark.usefixtures("_ingested")
def test_many_neighbours_are_counted_and_not_all_printed(dobby: Dobby) -> None:
    answer = dobby("graph", "src/b.py::h", *WHERE)
    assert "  … and 126 more" in answer.out.splitlines()
    assert len(answer.out.splitlines()) < 40
    found = json.loads(dobby("graph", "src/b.py::h", *WHERE, "--json").out)
    assert (len(found["callers"]["edges"]), found["callers"]["left_out"]) == (146, 0)
    assert found["within"] == ["src/b.py", "src"]
    assert found["callees"]["edges"] == [
        {
            "key": "src/b.py::g",
            "summary": None,
            "through": "src/b.py::h",
            "depth": 1,
            "found_by": "grammar",
            "certainty": 0.98,
        }
    ]


@pytest.mark.usefixtures("_ingested")
def test_a_flowchart(dobby: Dobby) -> None:
    lines = dobby("graph", "a.py::f", *WHERE, "--mermaid", "--depth", "2").out.splitlines()
    assert lines[:2] == ["flowchart LR", '  n0["src/a.py::f"]']
    assert lines[-1] == "  n1 -->|calls| n2"
    assert dobby("graph", "a.py::f", *WHERE, "--mermaid", "--json").code == 1


def test_names_are_untrusted(dobby: Dobby) -> None:
    tree(Path(), {'src/a"];\x1b[31m.py': "def f(): g()\ndef g(): pass\n"})
    dobby("ingest", "src", *WHERE)
    for form in ((), ("--json",), ("--mermaid",)):
        answer = dobby("graph", "::f", *WHERE, *form)
        assert answer.code == 0
        assert "\x1b" not in answer.out
    chart = dobby("graph", "::f", *WHERE, "--mermaid").out
    assert '  n0["src/a#34;#93;#59;#92;x1b#91;31m.py::f"]' in chart.splitlines()


def test_without_a_graph_the_way_out_is_named(dobby: Dobby) -> None:
    with cozo_client("sqlite:///code.db") as db:
        db.run("?[id, body] <- [['x', 'def f(): pass']] :create mine {id => body}")
    answer = dobby("graph", "x", *WHERE, "--relation", "mine")
    assert (answer.code, answer.out) == (1, "")
    assert "'mine' has no code graph" in answer.err
    assert "dobby ingest PATH" in answer.err
    empty = dobby("graph", "x", *WHERE)
    assert "the database has no code graph (run dobby ingest again with the same paths)" in empty.err
    tree(Path(), FILES)
    dobby("ingest", "src", *WHERE)
    assert "there is no record 'nosuch'" in dobby("graph", "nosuch", *WHERE).err


def test_numbers_of_the_author_make_no_names_the_same(dobby: Dobby) -> None:
    tree(Path(), {"src/N.md": "# Issue #1\n\none\n\n# Issue #2\n\ntwo\n\n# Issue #3\n\nthree\n"})
    assert dobby("ingest", "src", *WHERE).code == 0
    assert dobby("graph", "src/N.md::Issue #2", "--json", *WHERE).json["same_name"] == []
