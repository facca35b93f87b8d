"""``dobby list`` and ``dobby show``: records are found by a part of their key and by what is known of them."""

from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import cozo_client
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import prepared, put

WHERE = ("--database", "sqlite:///code.db")
FILES = {
    "src/a.py": "def one():\n    return 1\n\n\nclass Two:\n    def three(self):\n        return 3\n",
    "src/b.js": "function four() { return 4 }\nfunction five() { return 'FAIL' }\n",
    "src/notes.md": "# Six\n\nSome text.\n",
}
KEYS = [
    "src/a.py::Two",
    "src/a.py::Two.three",
    "src/a.py::one",
    "src/b.js::five",
    "src/b.js::four",
    "src/notes.md::Six",
]


@pytest.fixture
def tree(dobby: Dobby) -> CozoStore:
    for name, text in FILES.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    assert dobby("ingest", "src", *WHERE).code == 0
    store = CozoStore.open(DatabaseSettings(url="sqlite:///code.db"))
    store.recipes.remember(RECIPE)
    run(store, FakeEngine())
    return store


def keys(dobby: Dobby, *arguments: object) -> list[str]:
    answer = dobby("list", *arguments, *WHERE, "--json")
    assert answer.code == 0, answer.err
    return [row["key"] for row in answer.json["records"]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), KEYS),
        (("src/a.py",), KEYS[:3]),
        (("src/a.py::Two.",), KEYS[1:2]),
        (("--language", "JavaScript"), KEYS[3:5]),
        (("--kind", "class"), KEYS[:1]),
        (("--kind", "function", "--language", "python"), KEYS[2:3]),
        (("--failed",), KEYS[3:4]),
        (("--state", "completed", "src/b"), KEYS[4:5]),
        (("--state", "pending"), []),
        (("--below", "0.0001"), []),
        (("--below", "1"), [key for key in KEYS if not key.endswith("five")]),
        (("--stale",), []),
        (("--limit", "2"), KEYS[:2]),
        (("--limit", "2", "--page", "3"), KEYS[4:]),
        (("--page", "2"), []),
        (("src/a.py::one",), ["src/a.py::one"]),
    ],
)
def test_filters_and_pages(dobby: Dobby, tree: CozoStore, arguments: tuple[object, ...], expected: list[str]) -> None:
    assert keys(dobby, *arguments) == expected


def test_sorting_by_confidence_and_age(dobby: Dobby, tree: CozoStore) -> None:
    rows = dobby("list", *WHERE, "--sort", "confidence", "--json").json["records"]
    known = [row["confidence"] for row in rows if row["confidence"] is not None]
    assert known == sorted(known)
    assert len(known) == 5
    assert rows[-1]["key"] == "src/b.js::five", "no summary comes last"
    ages = [row["created_at"] for row in dobby("list", *WHERE, "--sort", "newest", "--json").json["records"][:5]]
    assert ages == sorted(ages, reverse=True)
    paged: list[str] = []
    for page in (1, 2, 3):
        found = dobby("list", *WHERE, "--sort", "confidence", "-n", 2, "--page", page, "--json").json
        paged += [row["key"] for row in found["records"]]
        assert found["more"] is (page < 3)
    assert paged == [row["key"] for row in rows]


def test_a_record_that_changed_is_stale_until_it_is_summarised(dobby: Dobby, tree: CozoStore) -> None:
    Path("src/a.py").write_text(FILES["src/a.py"].replace("return 1", "return 1 + 0") + "\n\ndef new(): return 0\n")
    dobby("ingest", "src", *WHERE)
    assert keys(dobby, "--stale") == ["src/a.py::one"]
    assert "(changed since: " in dobby("list", "--stale", *WHERE).out
    assert keys(dobby, "--state", "pending") == ["src/a.py::new", "src/a.py::one"]
    run(tree, FakeEngine())
    assert keys(dobby, "--stale") == []


def test_what_is_printed(dobby: Dobby, tree: CozoStore) -> None:
    answer = dobby("list", "src/b", "-n", 1, *WHERE)
    assert "src/b.js::five" in answer.out
    assert "(failed: " in answer.out
    assert answer.err == "There is more: --page 2\n"
    assert dobby("list", "src/b", "--kind", "section", *WHERE).out == "No record matches.\n"
    assert dobby("list", "--page", 9, *WHERE).out == "There is no page 9.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--state", "complete"), "there is no state 'complete' (did you mean 'completed'?"),
        (("--sort", "confidenc"), "records can't be sorted by 'confidenc' (did you mean 'confidence'?"),
        (("--failed", "--state", "pending"), "--failed contradicts --state pending"),
        (("--recipe", "none"), "there is no recipe 'none'"),
        (("--kind", "fnction"), "there is no record of kind 'fnction' (did you mean 'function'?"),
        (("--language", "pyton"), "there is no record of language 'pyton' (did you mean 'python'?"),
        (("./src",), "no key begins with './src' (did you mean 'src'?"),
        (("nothing",), "no key begins with 'nothing' (dobby list "),
    ],
)
def test_a_wrong_filter_is_named(dobby: Dobby, tree: CozoStore, arguments: tuple[Any, ...], message: str) -> None:
    answer = dobby("list", *arguments, *WHERE)
    assert (answer.code, answer.out) == (1, "")
    assert message in answer.err


def test_an_edit_that_no_plan_has_seen_is_told(dobby: Dobby, tree: CozoStore) -> None:
    before = dobby("preview", *WHERE, "--json").json
    Path("src/a.py").write_text(FILES["src/a.py"].replace("return 1", "return 11"))
    assert dobby("ingest", "src", *WHERE).code == 0
    shown = dobby("show", "src/a.py::one", *WHERE).out
    assert shown.startswith("src/a.py::one: pending changed since its summary\n")
    assert "former: from earlier content" in shown
    assert "return 11" in shown
    assert "1 row changed since the last plan" in dobby("status", *WHERE).out
    planned = dobby("preview", *WHERE, "--json").json
    assert planned["waiting"] == before["waiting"] + 1
    # Without a summary by this model it was in a batch; now it is counted as an edited row, and once.
    assert (planned["contents"], planned["records"]) == (before["contents"], before["records"] - 1)


def test_an_edited_record_that_was_pending_counts_once(dobby: Dobby, tmp_path: Path) -> None:
    store = prepared(tmp_path, 2)
    source = store.source(SourceSettings())
    plan(store, source, 5)
    put(store, {"k0001": "def other(): ..."})
    shown = dobby("status", "--database", f"sqlite:///{tmp_path}/records.db").out
    assert "1 row changed since the last plan" in shown
    assert "2 records to summarise" in shown


def test_a_moved_file_is_no_change(dobby: Dobby, tree: CozoStore) -> None:
    Path("src/a.py").rename(Path("src/moved.py"))
    assert dobby("ingest", "src", *WHERE).code == 0
    counts = dobby("status", *WHERE, "--json").json
    assert counts["unplanned"] > 0
    assert counts["changed"] == 0
    assert dobby("preview", *WHERE, "--json").json["waiting"] == counts["unplanned"]


def test_a_whole_name_is_enough_where_longer_keys_have_it_too(dobby: Dobby, tree: CozoStore) -> None:
    assert dobby("show", "Two", *WHERE).out.startswith("src/a.py::Two: completed")


def test_the_beginning_of_a_recipe_that_only_one_has_is_enough(dobby: Dobby, tree: CozoStore) -> None:
    recipe = str(tree.recipes.latest())
    whole = dobby("list", "--recipe", recipe, *WHERE)
    assert "src/b.js::five" in whole.out
    assert dobby("list", "--recipe", recipe[:4], *WHERE) == whole
    assert f"there is no recipe '{recipe[:3]}'" in dobby("list", "--recipe", recipe[:3], *WHERE).err
    [row] = tree.recipes.all()
    assert dobby("list", "--model", row["model"], *WHERE) == whole
    assert f"there is no recipe '{row['model']}'" in dobby("purge", row["model"], "--yes", *WHERE).err, (
        "by name of the recipe only"
    )
    columns = "prompt, prompt_text, model, model_revision, settings, used_at"
    tree.connection.run(
        f"?[recipe, {columns}] := *dobby_recipe{{recipe: known, {columns}}}, known == $recipe, recipe = $like"
        f" :put dobby_recipe {{recipe => {columns}}}",
        {"recipe": recipe, "like": recipe[:6] + "0" * 10},
        write=True,
    )
    answer = dobby("list", "--recipe", recipe[:4], *WHERE)
    assert (answer.code, answer.out) == (1, "")
    assert f"'{recipe[:4]}' is the beginning of 2 recipes (choose one: " in answer.err


def test_whole_numbers_as_keys_are_listed_by_their_digits(dobby: Dobby, monkeypatch: pytest.MonkeyPatch) -> None:
    with cozo_client(WHERE[1]) as db:
        db.run(":create numbered {id: Int => content: String}")
        db.run("?[id, content] <- [[10, 'x'], [11, 'y'], [2, 'z'], [-1, 'w']] :put numbered {id => content}")
    CozoStore.open(DatabaseSettings(url=WHERE[1])).close()
    monkeypatch.setenv("DOBBY_SOURCE_KEY", "id")
    assert keys(dobby, "1", "--relation", "numbered") == ["10", "11"]
    assert keys(dobby, "--relation", "numbered") == ["-1", "2", "10", "11"]


def test_show_finds_a_record_by_a_part_of_its_key(dobby: Dobby, tree: CozoStore) -> None:
    for part in ("src/a.py::Two.three", "src/a.py::Two.", "three"):
        shown = dobby("show", part, *WHERE, "--json").json
        assert shown["key"] == "src/a.py::Two.three"
        assert "return 3" in shown["content"]
    plain = dobby("show", "three", *WHERE).out
    assert "src/a.py::Two.three: completed" in plain
    assert "content (src/a.py:6):\n  def three(self):\n      return 3\n" in plain
    assert dobby("history", "three", *WHERE).code == 0
    exact = dobby("show", "src/a.py::Two", *WHERE, "--json").json
    assert exact["key"] == "src/a.py::Two", "a whole key is not the beginning of others"


def test_show_names_what_an_ambiguous_part_could_mean(dobby: Dobby, tree: CozoStore) -> None:
    answer = dobby("show", "src/b", *WHERE)
    assert (answer.code, answer.out) == (1, "")
    assert "'src/b' is part of the keys of 2 records (choose one: src/b.js::five, src/b.js::four)" in answer.err
    assert "did you mean 'src/a.py::one'?" in dobby("show", "src/a.py::onne", *WHERE).err
    assert "did you mean 'src/b.js::five' or 'src/b.js::four'?" in dobby("show", "src/bb.js", *WHERE).err


def test_a_long_content_is_shown_from_its_beginning(dobby: Dobby, tree: CozoStore) -> None:
    lines = "\n".join(f"    x = {i}" for i in range(100))
    Path("src/long.py").write_text(f"def long():\n{lines}\n")
    dobby("ingest", "src", *WHERE)
    assert "… 61 more lines; show them with --full" in dobby("show", "long.py::long", *WHERE).out
    assert "x = 99" in dobby("show", "long.py::long", "--full", *WHERE).out


def test_a_key_with_bytes_that_are_no_text_is_found_as_it_was_ingested(dobby: Dobby, tree: CozoStore) -> None:
    (Path("src") / "caf\udce9.py").write_text("def brew():\n    return 1\n")
    assert dobby("ingest", "src", *WHERE).code == 0
    assert keys(dobby, "src/caf\udce9") == ["src/caf\\xe9.py::brew"]
    assert dobby("show", "caf\udce9.py", *WHERE).out.startswith("src/caf\\xe9.py::brew: pending")
    for command in ("show", "history"):
        assert "there is no record" in dobby(command, "\udcff\ud800", *WHERE).err


def test_a_confidence_has_two_decimals_everywhere(dobby: Dobby, tree: CozoStore) -> None:
    key = KEYS[2]
    [row] = [row for row in dobby("list", *WHERE, "--json").json["records"] if row["key"] == key]
    shown = f"{row['confidence']:.2f}"
    [line] = [line for line in dobby("list", key, *WHERE).out.splitlines() if key in line]
    assert line.split("│")[-2].strip() == shown
    [line] = [line for line in dobby("show", key, *WHERE).out.splitlines() if "confidence" in line]
    assert line.split("│")[-2].strip() == shown
    hits = dobby("search", "one", *WHERE).out.splitlines()
    assert hits[hits.index(f"{key}  line 1") + 2].strip().startswith(f"confidence {shown},")
