"""The corpus of contents other than functions and classes: what each kind gives, and what it leaves out."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dobby_dagster.ingest.documentation.first_sentence import first_sentence
from training.corpus.kinds.build import LISTED, MADE_UP, build, made_up
from training.corpus.kinds.files import pairs_of, wanted
from training.corpus.kinds.found import MAX_CHARACTERS, inserted, listed
from training.corpus.kinds.harvest import Harvest
from training.corpus.kinds.shapes import shape
from training.corpus.kinds.statements import rule
from training.corpus.packages import Project, archived, projects
from training.corpus.pair import Pair, read

MODULE = '''"""Reads settings from files and the environment.

More about it.
"""

import os


class Settings(Base):
    """Keeps the settings of one project in memory."""

    def load(self, path: str) -> None:
        """Load."""

    async def save(self): ...


def read(path, *, strict=False) -> dict:
    return {}
'''
TEST = '''def test_a():
    """The socket is closed after the last reader has gone."""
    socket = open_socket()
    assert socket.closed
'''
SCRIPT = """#!/bin/sh
# Copyright 2020 Somebody

# Removes old kernels that are not in use.

# Prints the version of the running kernel.
current() {
    uname -r | cut -d- -f1,2
    return 0
}
rm -f /boot/vmlinuz-old
"""
MANUAL = r""".TH CURRENT 1 "2020"
.SH NAME
current \- print the version of the running kernel
.SH DESCRIPTION
.B current
reads what the kernel says of itself and writes the version of it to standard output, followed by a line break. It never
asks the package manager, and it never needs to be root. Where the kernel says nothing, nothing is written, and the status
is that of a failure, so that scripts can act on it. The version has no suffix of a distribution.
"""
PATCH = """From 18426669b Mon Sep 17 00:00:00 2001
Subject: [PATCH] http: reset the trailer to avoid memory leaks

---
 lib/http.c | 1 +

diff --git a/lib/http.c b/lib/http.c
--- a/lib/http.c
+++ b/lib/http.c
@@ -1,2 +1,3 @@
 void done(void) {
+  free(trailer);
 }
--
2.30
"""


def found(name: str, text: str) -> list[Pair]:
    assert wanted(name)
    return list(pairs_of("p", name, text))


@pytest.mark.parametrize(
    ("name", "text", "kind", "language", "summary", "code"),
    [
        ("p/settings.py", MODULE, "module", "python", "Reads settings from files and the environment.", "def read(path, *, strict=False) -> dict"),
        ("p/settings.py", MODULE, "class", "python", "Keeps the settings of one project in memory.", "    async def save(self)"),
        ("p/tests/test_a.py", TEST, "test", "python", "The socket is closed after the last reader has gone.", "assert socket.closed"),
        ("p/doc.go", "// Package queue keeps jobs in order until a worker is free.\npackage queue\n\nfunc PutIntoQueue(job Job, priority int) error {\n\treturn nil\n}\n", "module", "go", "Keeps jobs in order until a worker is free.", "func PutIntoQueue(job Job, priority int) error"),
        ("p/lib.rs", "//! Reads tables from files of any size.\n\npub fn read(path: &Path, limit: usize) -> Result<Table> {\n    open(path)\n}\n", "module", "rust", "Reads tables from files of any size.", "pub fn read(path: &Path, limit: usize) -> Result<Table>"),
        ("p/queue.js", "/**\n * @fileoverview Keeps jobs in order until a worker is free.\n */\nimport a from 'a';\n\nexport function put(job, priority, options) {\n  return a(job);\n}\n", "module", "javascript", "Keeps jobs in order until a worker is free.", "export function put(job, priority, options)"),
        ("p/queue.c", "/* queue.c - keeps jobs in order until a worker is free. */\n#include <stdio.h>\n\nint put_into_queue(struct job *job, int priority)\n{\n  return job->id;\n}\n", "module", "c", "Keeps jobs in order until a worker is free.", "int put_into_queue(struct job *job, int priority)"),
        ("p/package.json", '{"name": "queue-of-jobs", "version": "1.0.0", "description": "Keeps jobs in order until a worker is free"}', "data", "json", "Keeps jobs in order until a worker is free.", '"version": "1.0.0"'),
        ("p/tasks/main.yml", "- name: Install the web server\n  package:\n    name: nginx\n    state: present\n", "task", "yaml", "Install the web server.", "- package:\n    name: nginx"),
        ("p/schema.yaml", "parameters:\n  Size:\n    type: number\n    description: Number of servers in the group.\n    default: 3\n    minimum: 1\n", "data", "yaml", "Number of servers in the group.", "Size:\n  type: number\n  default: 3"),
        ("p/Cargo.toml", '[package]\nname = "queue"\ndescription = "Keeps jobs in order until a worker is free"\nversion = "0.1.0"\nedition = "2021"\n', "configuration", "toml", "Keeps jobs in order until a worker is free.", 'edition = "2021"'),
        ("p/debian/queue.service", "[Unit]\nDescription=Queue of print jobs\n\n[Service]\nExecStart=/usr/bin/queue --all\n", "configuration", "ini", "Queue of print jobs.", "ExecStart=/usr/bin/queue"),
        ("p/queue.conf", "# Number of workers that run at the same time.\nworkers = 4\nworker_timeout = 30\nworker_memory = 100\n", "configuration", "ini", "Number of workers that run at the same time.", "workers = 4"),
        ("p/setup.sql", "-- Find the jobs that nobody has taken.\nSELECT id FROM jobs WHERE worker IS NULL AND state = 'new';\n", "statement", "sql", "Find the jobs that nobody has taken.", "SELECT id FROM jobs"),
        ("p/schema.sql", "CREATE TABLE job (id INT, state TEXT, worker TEXT);\nCOMMENT ON TABLE job IS 'Jobs that wait for a worker.';\n", "statement", "sql", "Jobs that wait for a worker.", "CREATE TABLE job"),
        ("p/clean.sh", SCRIPT, "script", "shell", "Removes old kernels that are not in use.", "rm -f /boot"),
        ("p/clean.sh", SCRIPT, "function", "shell", "Prints the version of the running kernel.", "uname -r"),
        ("p/man/current.1", MANUAL, "manual", "text", "Print the version of the running kernel.", "reads what the kernel says"),
        ("p/debian/patches/http.patch", PATCH, "diff", "diff", "Reset the trailer to avoid memory leaks.", "+  free(trailer);"),
    ],
)  # fmt: skip
def test_real_files_give_the_content_and_what_its_author_says(
    name: str, text: str, kind: str, language: str, summary: str, code: str
) -> None:
    pairs = [pair for pair in found(name, text) if (pair.kind, pair.summary) == (kind, summary)]
    assert len(pairs) == 1, [(pair.kind, pair.summary) for pair in found(name, text)]
    pair = pairs[0]
    assert pair.language == language
    assert code in pair.code
    assert summary.rstrip(".").lower() not in pair.code.lower()
    if pair.documentation:
        assert pair.code != pair.documented


def test_a_section_gives_its_first_sentence_where_it_describes() -> None:
    rest = (
        "It is kept in memory, and written to the disk whenever it has changed, so that nothing is lost on a crash. "
        * 3
    )
    [pair] = found("p/README.md", f"# Queue\n\nThe queue keeps jobs in order until a worker is free. {rest}\n")
    assert (pair.kind, pair.language, pair.summary) == (
        "section",
        "markdown",
        "The queue keeps jobs in order until a worker is free.",
    )
    assert pair.documented == f"# Queue\n\nThe queue keeps jobs in order until a worker is free. {rest.strip()}"
    assert found("p/README.md", f"# Queue\n\nTo install it, run the script in this folder. {rest}\n") == []


@pytest.mark.parametrize(
    ("kind", "content", "sentence"),
    [
        ("json", '{"name": "a", "size": 1}', "A JSON object with the keys name and size."),
        ("json", '[{"a": 1}, {"a": 2, "b": 3}]', "A JSON list of objects with the keys a and b."),
        ("json", '{"type": "object", "properties": {"id": {}, "name": {}}}', "A JSON schema of an object with the properties id and name."),
        ("json", "{broken", None),
        ("json", "3", None),
        ("yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n", "A Kubernetes manifest of a Service named web."),
        ("yaml", "name: CI\non: [push]\njobs:\n  test: {}\n  lint: {}\n", "A GitHub Actions workflow named CI with the jobs test and lint."),
        ("yaml", "services:\n  web:\n    image: nginx\n  db:\n    image: postgres\n", "A Docker Compose file with the services web and db."),
        ("csv", "id,name\n1,a\n2,b\n", "A CSV table with the columns id and name."),
        ("csv", "1,2\n3,4\n", None),
        ("ini", "[a]\nx = 1\n[b]\ny = 2\n", "An INI file with the sections a and b."),
        ("toml", '[package]\nname = "q"\n[dependencies]\nserde = "1"\n', "The Cargo manifest of the crate q with the dependencies serde."),
        ("makefile", "all: test\n\ntest:\n\tpytest\n", "A Makefile with the targets all and test."),
        ("dockerfile", 'FROM python:3.11\nCMD ["python", "a.py"]\n', "A Dockerfile based on python:3.11 that runs python."),
    ],
)  # fmt: skip
def test_data_without_a_description_are_said_by_rule(kind: str, content: str, sentence: str | None) -> None:
    assert shape(kind, content) == sentence


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("CREATE TABLE users (id INT, name TEXT);", "Creates the table users with the columns id and name."),
        ("CREATE UNIQUE INDEX i ON users (email);", "Creates a unique index on the column email of the table users."),
        ("SELECT a, COUNT(*) AS n FROM t JOIN u ON t.id = u.id GROUP BY a;", "Selects a and n from the tables t and u, grouped by a."),
        ("INSERT INTO t (a, b) VALUES (1, 2);", "Inserts rows into the table t with the columns a and b."),
        ("UPDATE t SET a = 1 WHERE b = 2;", "Updates the column a of the table t."),
        ("DELETE FROM t WHERE created < 5;", "Deletes rows from the table t, selected by created."),
        ("not sql at all (", None),
    ],
)  # fmt: skip
def test_statements_are_said_by_rule(statement: str, sentence: str | None) -> None:
    assert rule(statement) == sentence


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=4), st.integers(0, 12))
@settings(max_examples=50, deadline=None)
def test_what_was_inserted_is_found_again(base: list[str], more: list[str], at: int) -> None:
    without = "".join(base)
    at = min(at, len(without))
    whole = without[:at] + "".join(more) + without[at:]
    part = inserted(without, whole)
    if not more:
        assert part is None
    else:
        assert part is not None
        assert without[: part[1]] + part[0] + without[part[1] :] == whole


def test_long_lists_end_in_others() -> None:
    assert [listed(list("abcdefg")[:n]) for n in (1, 2, 3, 6)] == [
        "a",
        "a and b",
        "a, b and c",
        "a, b, c, d, e and others",
    ]


def _harvest() -> Harvest:
    harvest = Harvest()
    harvest.add(
        "p/q/worker.py",
        "def run(job):\n    LOG.info('Started the job %s', job)\n    LOG.error('Job %s of %d failed badly', job, 3)\n    result = work(job)\n"
        "    raise ValueError('no such job')\n",
    )
    return harvest


def test_made_up_contents_are_the_same_again_and_name_what_stands_in_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for role in ("test", "validation"):
        monkeypatch.setitem(MADE_UP, role, (20, 20, 20, 20))
    harvest = _harvest()
    assert harvest.messages
    assert harvest.errors
    assert harvest.frames
    pairs, again = list(made_up("test", harvest)), list(made_up("test", harvest))
    assert pairs == again
    languages = Counter(pair.language for pair in pairs)
    assert {"json", "yaml", "toml", "ini", "csv", "sql", "xml", "log", "traceback", "text"} <= set(languages)
    for pair in random.Random(0).sample(pairs, 100):
        assert first_sentence(pair.summary) == pair.summary
        assert 0 < len(pair.code) <= MAX_CHARACTERS
    assert {pair.summary for pair in made_up("validation", harvest)} != {pair.summary for pair in pairs}


def test_the_build_splits_by_project_and_drops_what_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only archives that are there are read: none is, so what is written is made up."""
    for role in ("test", "validation", "train"):
        monkeypatch.setitem(MADE_UP, role, (20, 5, 5, 20))
    counts = build(tmp_path / "out", tmp_path / "none", 1, present_only=True)
    contents: set[str] = set()
    for role in ("test", "validation", "train"):
        pairs = read(tmp_path / "out" / f"kinds.{role}.jsonl")
        assert sum(counts[role].values()) == len(pairs) > 100
        assert not contents & {pair.code for pair in pairs}
        contents |= {pair.code for pair in pairs}
        assert max(Counter(pair.summary for pair in pairs).values()) <= 15
    assert json.loads((tmp_path / "out" / "kinds.test.jsonl").read_text().splitlines()[0])["kind"]


def test_every_listed_package_has_a_licence_and_keeps_its_role() -> None:
    roles = {project.name: project.role for project in projects()}
    listed_ = projects(LISTED)
    assert len({(project.registry, project.name) for project in listed_}) == len(listed_)
    for project in listed_:
        assert "GPL" not in project.licence
        assert roles.get(project.name, project.role) == project.role


def test_an_archive_of_changes_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "debian-diff").mkdir()
    file = tmp_path / "debian-diff" / "queue_1.2-3.debian.tar.xz"
    file.write_bytes(b"")
    assert archived(Project("queue", "1:1.2-3", "debian-diff", "MIT", "train"), tmp_path) == file
    assert archived(Project("queue", "1:1.2-4", "debian-diff", "MIT", "train"), tmp_path) is None
