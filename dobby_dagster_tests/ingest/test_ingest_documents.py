"""Markdown, notebooks and SQL into records."""

import json
from pathlib import Path, PurePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.ingest.documents.front_matter import front_matter
from dobby_dagster.ingest.file_splitting import split
from dobby_dagster.ingest.ingestion import ingest
from dobby_dagster.ingest.piece import UnreadableError
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.file_tree import tree

JEKYLL = "---\ntitle: Handbook\nauthor: Ann\ntags: [a, b]\ndate: 2024-01-02\ndraft: true\n---\n\nIntro words.\n\n# Begin\n\nText.\n"


def test_front_matter_is_metadata_of_the_first_record(sqlite_store: CozoStore, tmp_path: Path) -> None:
    root = tree(tmp_path / "src", {"a.md": JEKYLL})
    ingest(sqlite_store, [root])
    found = sqlite_store.source(SourceSettings()).get(["src/a.md", "src/a.md::Begin"])
    first, second = found["src/a.md"], found["src/a.md::Begin"]
    assert (first.content, second.content) == ("Intro words.", "# Begin\n\nText.")
    assert first.metadata["front_matter"] == {
        "title": "Handbook", "author": "Ann", "tags": ["a", "b"], "date": "2024-01-02", "draft": "true",
    }  # fmt: skip
    assert (first.metadata["line"], second.metadata["line"]) == (1, 11)
    assert "front_matter" not in second.metadata
    (root / "a.md").write_text(JEKYLL.replace("Ann", "Bob"))
    assert ingest(sqlite_store, [root]).written == 1
    assert (
        sqlite_store.source(SourceSettings()).get(["src/a.md"])["src/a.md"].metadata["front_matter"]["author"] == "Bob"
    )


@pytest.mark.parametrize(
    ("text", "metadata", "content"),
    [
        ("+++\ntitle = 'T'\ndate = 2024-01-02\nx = nan\n+++\n# A\n", {"title": "T", "date": "2024-01-02", "x": "NaN"}, "# A"),
        ("---\ntitle: T\n...\n# A\n", {"title": "T"}, "# A"),
        ("---\ntitle: T\n---\n", {"title": "T"}, "---\ntitle: T\n---"),
        ("---\njust text\n---\n", {}, None),
        ("---\na: [\n---\ntext", {}, None),
        ("---\na: &x [1]\nb: *x\n---\ntext", {}, None),
        ("text\n\n---\n\ntitle: T\n\n---\n", {}, "text\n\n---\n\ntitle: T\n\n---"),
        ("---\n? [1, 2]\n: x\n---\ntext", {}, None),
        ("---\na: " + "[" * 5_000 + "\n---\ntext", {}, None),
        ("---\n" + "- " * 5_000 + "\n---\ntext", {}, None),
        ("---\n" + "? " * 5_000 + "\n---\ntext", {}, None),
        ("---\n" + "a: b\n" * 5_000 + "---\ntext", {}, None),
        ('---\na: "\\ud800"\n---\ntext', {"a": "?"}, "text"),
    ],
)  # fmt: skip
def test_what_is_front_matter_and_what_is_not(text: str, metadata: dict[str, Any], content: str | None) -> None:
    first = split(PurePath("a.md"), text)[0]
    assert first.metadata == metadata
    if content is not None:
        assert first.content == content
    else:
        assert "".join(piece.content for piece in split(PurePath("a.md"), text)).replace("\n", "") == text.replace(
            "\n", ""
        )


@given(text=st.text(alphabet="-+\n ab:[]{}*&\"'#=", max_size=80))
def test_any_front_matter_is_read_without_an_error(text: str) -> None:
    for mark in ("---", "+++"):
        metadata, lines = front_matter(f"{mark}\n{text}\n{mark}\n")
        json.dumps(metadata, allow_nan=False)
        assert 0 <= lines <= text.count("\n") + 3


def test_headings_of_one_text_and_of_anothers_number_stay_apart() -> None:
    pieces = split(PurePath("a.md"), "# A\n\nx\n\n# A#2\n\nx\n\n# A\n\nx\n")
    assert [piece.name for piece in pieces] == ["A", "A#2", "A#3"]


def notebook(*cells: dict[str, Any], **more: Any) -> str:
    return json.dumps({"nbformat": 4, "cells": list(cells), "metadata": {"kernelspec": {"language": "R"}}} | more)


def code(source: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "outputs": [{"data": {"image/png": "A" * 1000}}]}


def test_a_notebook_is_read_by_its_cells(sqlite_store: CozoStore, tmp_path: Path) -> None:
    prose = {"cell_type": "markdown", "source": ["# Title\n", "\n", "Words."]}
    text = notebook(
        prose, code("x <- 1"), code(" \n"), {"cell_type": "raw", "source": "raw"}, code(["a <- 2\r\n", "b\0\ud800"])
    )
    pieces = split(PurePath("a.ipynb"), text)
    assert [(piece.name, piece.kind, piece.language, piece.content) for piece in pieces] == [
        ("cell 1", "cell", "markdown", "# Title\n\nWords."),
        ("cell 2", "cell", "r", "x <- 1"),
        ("cell 5", "cell", "r", "a <- 2\nb\ufffd?"),
    ]
    old = json.dumps({"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": ["y = 1"]}]}]})
    assert [(piece.name, piece.language) for piece in split(PurePath("a.ipynb"), old)] == [("cell 1", "python")]
    root = tree(
        tmp_path / "src",
        {
            "a.ipynb": text,
            "b.ipynb": "{",
            "c.ipynb": '{"cells": 3}',
            "d.ipynb": "[" * 100_000,
            "e.ipynb": "",
            "f.ipynb": notebook(),
        },
    )
    done = ingest(sqlite_store, [root])
    assert (done.files, done.found) == (3, 3)
    assert {Path(path).name: reason for path, reason in done.left_out.items()} == {
        "b.ipynb": "not a notebook: JSONDecodeError", "c.ipynb": "not a notebook: it has no cells",
        "d.ipynb": "not a notebook: RecursionError",
    }  # fmt: skip


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["cells", "worksheets", "metadata", "source", "cell_type", "input", "kernelspec", "language"]), inner, max_size=4), max_leaves=20)  # fmt: skip


@given(value=JSON)
def test_any_json_is_a_notebook_or_named_as_none(value: Any) -> None:
    try:
        pieces = split(PurePath("a.ipynb"), json.dumps(value))
    except UnreadableError as error:
        assert "not a notebook" in str(error)
    else:
        assert all(piece.content.strip() for piece in pieces)


SQL = """-- Users.
CREATE TABLE IF NOT EXISTS app.users (id INT PRIMARY KEY, name TEXT);

/* Adds. */
INSERT INTO users VALUES (1, 'a;b');
CREATE OR REPLACE FUNCTION "add me"(a int, b int) RETURNS int AS $$
BEGIN
  RETURN a + b;
END;
$$ LANGUAGE plpgsql;
SELECT name FROM users WHERE id = 1;
CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END;
create unique index on_name on users (name);
GO
ALTER TABLE x ADD COLUMN y int
go
WITH a AS (SELECT 1) SELECT * FROM a;
UPDATE t SET a = 1; DELETE FROM t;
;
COMMIT;
-- the end
"""


def test_sql_is_read_by_its_statements() -> None:
    pieces = split(PurePath("a.sql"), SQL)
    assert [(piece.name, piece.line) for piece in pieces] == [
        ("CREATE TABLE app.users", 2), ("INSERT INTO users", 5), ('CREATE FUNCTION "add me"', 6), ("SELECT users", 11),
        ("CREATE PROCEDURE p", 12), ("CREATE INDEX on_name", 13), ("ALTER TABLE x", 15), ("WITH a", 17),
        ("UPDATE t", 18), ("DELETE FROM t", 18), ("COMMIT", 20),
    ]  # fmt: skip
    assert {(piece.kind, piece.language) for piece in pieces} == {("statement", "sql")}
    by_name = {piece.name: piece.content for piece in pieces}
    assert by_name["CREATE TABLE app.users"].startswith("-- Users.\nCREATE TABLE")
    assert by_name["INSERT INTO users"] == "/* Adds. */\nINSERT INTO users VALUES (1, 'a;b');"
    assert by_name['CREATE FUNCTION "add me"'].endswith("$$ LANGUAGE plpgsql;")
    assert [piece.kind for piece in split(PurePath("a.sql"), "-- only a comment\n")] == ["file"]


@pytest.mark.parametrize("ending", [".md", ".sql"])
@given(text=st.text())
def test_any_text_has_pieces_with_unique_names(ending: str, text: str) -> None:
    pieces = split(PurePath(f"a{ending}"), text)
    assert len({piece.name for piece in pieces}) == len(pieces)
    assert bool(pieces) == bool(text.strip())


LONG = {
    "a.md": "> " * 50_000, "b.md": "[" * 100_000, "c.md": "# a\n" * 30_000, "d.md": "- " * 20_000, "e.md": "`" * 50_001,
    "f.md": "a\n" * 100_000, "g.md": "|a" * 30_000 + "\n" + "|-" * 30_000, "h.md": "###### " + "a" * 500_000, "i.md": "*a " * 50_000,
    "a.sql": "INSERT INTO t VALUES (1);\n" * 3_000, "b.sql": "(" * 30_000, "c.sql": "/*" * 50_000, "d.sql": "BEGIN " * 10_000, "e.sql": "-- c\n" * 20_000,
}  # fmt: skip


@pytest.mark.timeout(240)
@pytest.mark.parametrize("file", LONG)
def test_long_documents_take_linear_time(file: str) -> None:
    pieces = split(PurePath(file), LONG[file])
    assert sum(len(piece.content) + len(piece.name) for piece in pieces) <= 3 * len(LONG[file]) + 1_000
