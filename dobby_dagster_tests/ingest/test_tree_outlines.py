"""What contains the records of a tree: its files and folders, what they say of themselves, and when they are due."""

from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.outlines import OutlineKind
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.ingest import tree_records
from dobby_dagster.ingest.documents.own_documentation import LONGEST, own_documentation
from dobby_dagster.ingest.ingestion import ingest
from dobby_dagster.ingest.regular_files import NotReadError
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.file_tree import tree

R = RecipeId("r")
FILES = {
    "src/a.py": '"""Adds numbers."""\n\ndef f():\n    return 1\n\ndef g():\n    return 2\n',
    "src/notes.txt": "Just a text.\n",
    "src/deep/__init__.py": '"""What is deep."""\n',
    "src/deep/b.go": "package b\n\nfunc F() {}\n",
    "src/README.md": "# Source\n\nAll of the source.\n",
}


def outlines(store: CozoStore, root: Path) -> dict[str, tuple[str, str, str]]:
    return {each.key: (each.kind.value, each.parent, each.documentation) for each in store.outlines.of(str(root))}


def test_files_and_folders_contain_the_records(tmp_path: Path, sqlite_store: CozoStore) -> None:
    root = tree(tmp_path, FILES) / "src"
    ingest(sqlite_store, [root])
    assert outlines(sqlite_store, root) == {
        "src": ("package", "", "All of the source."),
        "src/a.py": ("file", "src", "Adds numbers."),
        "src/notes.txt": ("text", "src", "Just a text."),
        "src/README.md": ("file", "src", "All of the source."),
        "src/deep": ("package", "src", "What is deep."),
        "src/deep/__init__.py": ("text", "src/deep", "What is deep."),
        "src/deep/b.go": ("file", "src/deep", ""),
    }
    assert sqlite_store.outlines.due(R) == ["src", "src/README.md", "src/a.py", "src/deep", "src/deep/b.go"]
    assert sqlite_store.outlines.containing(["src/a.py::f", "src/notes.txt", "src/deep", "src"]) == {"src/a.py", "src"}
    assert [each.outline.name for each in sqlite_store.outlines.children("src")] == [
        "README.md", "a.py", "deep/", "notes.txt",
    ]  # fmt: skip


def test_only_what_changed_and_what_is_above_it_becomes_due(tmp_path: Path, sqlite_store: CozoStore) -> None:
    root = tree(tmp_path, FILES) / "src"
    ingest(sqlite_store, [root])
    settle(sqlite_store)
    ingest(sqlite_store, [root])
    assert sqlite_store.outlines.due(R) == []
    (root / "deep/b.go").write_text("package b\n\nfunc F() { return }\n")
    ingest(sqlite_store, [root])
    assert sqlite_store.outlines.due(R) == ["src", "src/deep", "src/deep/b.go"]
    settle(sqlite_store)
    (root / "a.py").write_text('"""Adds numbers."""\n\ndef f():\n    return 1\n')
    ingest(sqlite_store, [root])
    assert sqlite_store.outlines.due(R) == ["src", "src/a.py"]
    settle(sqlite_store)
    (root / "deep/b.go").unlink()
    ingest(sqlite_store, [root])
    assert sqlite_store.outlines.due(R) == ["src", "src/deep"]
    assert sqlite_store.outlines.due(RecipeId("other")) == ["src", "src/README.md", "src/a.py", "src/deep"]


def settle(store: CozoStore) -> None:
    from dobby_dagster.store.ledger.outlines import Derivation

    due = store.outlines.get(store.outlines.due(R))
    store.outlines.commit(R, [Derivation(each, None, None) for each in due.values()])
    assert store.outlines.due(R) == []


def test_a_sample_has_no_files_and_packages(tmp_path: Path, sqlite_store: CozoStore) -> None:
    root = tree(tmp_path, {f"src/{i}/a.py": f"def f{i}(): return {i}\n" for i in range(9)}) / "src"
    ingest(sqlite_store, [root], limit=2)
    assert sqlite_store.outlines.of(str(root)) == []
    ingest(sqlite_store, [root])
    kinds = [each.kind for each in sqlite_store.outlines.of(str(root))]
    assert (kinds.count(OutlineKind.FILE), kinds.count(OutlineKind.PACKAGE)) == (9, 10)
    ingest(sqlite_store, [root], limit=2)  # all the others are still there
    assert len(sqlite_store.outlines.of(str(root))) == 19


def test_an_unchanged_file_does_not_become_due_by_a_sample(tmp_path: Path, sqlite_store: CozoStore) -> None:
    many = "".join(f"def f{i}():\n    return {i}\n\n" for i in range(6))
    root = tree(tmp_path, {**FILES, "src/many.py": many}) / "src"
    ingest(sqlite_store, [root])
    settle(sqlite_store)
    for limit in (1, 3, 6, 11, 12, 100):
        ingest(sqlite_store, [root], limit=limit)
        assert sqlite_store.outlines.due(R) == []


def test_a_file_that_is_wholly_in_a_sample_becomes_due_when_it_changes(tmp_path: Path, sqlite_store: CozoStore) -> None:
    root = tree(tmp_path, FILES) / "src"
    ingest(sqlite_store, [root], limit=100)
    settle(sqlite_store)
    (root / "a.py").write_text(FILES["src/a.py"].replace("return 2", "return 3"))
    ingest(sqlite_store, [root], limit=100)
    assert sqlite_store.outlines.due(R) == ["src", "src/a.py"]


def test_a_folder_that_two_trees_share_is_of_the_first_and_contains_both(
    tmp_path: Path, sqlite_store: CozoStore
) -> None:
    one = tree(tmp_path / "1", {"src/deep/a.py": "def f(): return 1\n"}) / "src"
    two = tree(tmp_path / "2", {"deep/b.py": "def g(): return 2\n"}) / "deep"
    ingest(sqlite_store, [one])
    ingest(sqlite_store, [two], name="src/deep")
    assert [each.outline.key for each in sqlite_store.outlines.children("src/deep")] == [
        "src/deep/a.py", "src/deep/b.py",
    ]  # fmt: skip
    assert outlines(sqlite_store, two) == {"src/deep/b.py": ("file", "src/deep", "")}
    assert set(outlines(sqlite_store, one)) == {"src", "src/deep", "src/deep/a.py"}


def test_a_path_may_have_what_ends_a_place_in_it(
    tmp_path: Path, sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"old::src/a.py": FILES["src/a.py"], "old::src/b.cpp": "int store::find(int a) { return a; }\n"}
    root = tree(tmp_path, {f"src/{name}": text for name, text in files.items()}) / "src"
    ingest(sqlite_store, [root])
    python, cpp = "src/old::src/a.py", "src/old::src/b.cpp"
    assert sqlite_store.records.keys_of(str(root)) == {
        f"{python}::f": python, f"{python}::g": python, f"{cpp}::store::find": cpp,
    }  # fmt: skip
    before, edges = (
        outlines(sqlite_store, root),
        sorted(sqlite_store.graph.edges_from([python, "src/old::src"]), key=str),
    )
    assert set(before) == {"src", "src/old::src", python, cpp}

    def text_of(path: Path) -> str:
        raise NotReadError("it is busy", transient=True)

    with monkeypatch.context() as busy:
        busy.setattr(tree_records, "text_of", text_of)
        ingest(sqlite_store, [root])
    assert outlines(sqlite_store, root) == before
    assert sorted(sqlite_store.graph.edges_from([python, "src/old::src"]), key=str) == edges != []
    ingest(sqlite_store, [root], exclude=["*.py"], permits=lambda _: True)
    assert set(outlines(sqlite_store, root)) == {"src", "src/old::src", cpp}


def test_one_file_is_its_own_tree(tmp_path: Path, sqlite_store: CozoStore) -> None:
    path = tree(tmp_path, {"a.py": "def f(): return 1\n"}) / "a.py"
    ingest(sqlite_store, [path])
    assert outlines(sqlite_store, path) == {"a.py": ("file", "", "")}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", "#!/usr/bin/python\n# -*- coding: utf-8 -*-\n# Copyright 2020\nr'''Adds.\n\nMore.'''\n", "Adds."),
        ("a.py", "'Adds.'\nx = 1\n", "Adds."),
        ("a.py", "# a comment\nimport os\n", ""),
        ("a.py", '"""', ""),
        ("a.rs", "//! Adds\n//! numbers.\n//!\n//! More.\nfn f() {}\n", "Adds numbers."),
        ("a.c", "/*\n * Copyright (c) 2020\n */\n\n/**\n * Adds numbers.\n */\n#include <a.h>\n", "Adds numbers."),
        ("a.js", "#!/usr/bin/env node\n'use strict';\n// Adds numbers.\nconst a = 1;\n", "Adds numbers."),
        ("a.sh", "#!/bin/sh\n# Adds numbers.\nset -e\n# later\n", "Adds numbers."),
        ("a.go", "package a\n\nfunc F() {} // Adds.\n", ""),
        ("a.md", "---\n\n![a](b)\n\n<p>\n\n* * *\n\nIt adds numbers.\n", "It adds numbers."),
        ("a.md", "", ""),
        ("a.py", '"""\nSums\n====\n\nIt adds numbers.\n"""', "It adds numbers."),
        ("a.py", '"""\n====\nSums\n====\n"""', "Sums"),
        ("a.py", '"""Copyright (c) 2015 Some One\n\nRedistribution and use\nare permitted.\n"""\n', ""),
        ("a.py", '"""Copyright (c) 2014 Acme.\n\nParses dates in ISO form."""', "Parses dates in ISO form."),
        ("a.py", '"""(c) 2014 Acme.\n\nLicensed as MIT.\n\nParses dates."""', "Parses dates."),
        ("a.py", '"""(c) 2012 me. This module parses dates."""', "This module parses dates."),
        (
            "a.go",
            "// Copyright 2012 J. Smith. All rights reserved. Reads the files of a tree.\n",
            "Reads the files of a tree.",
        ),
        ("a.go", "// Copyright 2012 The X Authors. Use of this code is governed by a BSD license.\n", ""),
        ("a.py", '"""Copyright (c) 2012 Acme Inc. Authors: John Smith, and others of Acme."""', ""),
        ("a.c", '#include "a.h"\n#include <stdlib.h>\n\n/* Adds. */\nint add(int a) {', ""),
        ("a.h", "#ifndef A_H\n#define A_H\n\n/* Rings of bytes. */\n\n#include <stddef.h>\n", "Rings of bytes."),
        ("a.h", "#pragma once\n// Rings of bytes.\n", "Rings of bytes."),
        ("a.h", "#ifndef A_H\n#define A_H\n#define MAX 7\n/* Adds. */\n", ""),
        ("a.cpp", "#include <vector>\n// Sorts vectors.\n", ""),
        ("a.rs", "#![no_std]\n//! Rings of bytes.\n\nuse std::fmt;", "Rings of bytes."),
        ("a.rs", "#[derive(Debug)]\nstruct A;", ""),
        ("a.rs", "/// Adds numbers.\npub fn add() {}", ""),
        ("a.cs", "#nullable enable\n// Reads rows.\nusing System;", "Reads rows."),
        ("a.cs", "#region x hi\nusing System;", ""),
        ("a.php", "<?php\n\ndeclare(strict_types=1);\n\n/** Reads rows. */\nnamespace A;", "Reads rows."),
        ("a.php", "<?php\n#[Attribute]\nclass A {}", ""),
        ("a.rb", "# frozen_string_literal: true\n\n# Reads rows.\nclass A", "Reads rows."),
        ("a.rb", "# frozen_string_literal: true\n# Reads rows.\nclass A", "Reads rows."),
        ("a.go", "//go:build linux\n// +build linux\n\n// Package a adds.\npackage a\n", "Package a adds."),
        ("a.ts", '/// <reference types="node" />\n// Reads rows.\nimport a from "a"', "Reads rows."),
        ("a.sh", "#!/bin/sh\n# shellcheck disable=SC2086\n# Deletes old files.\nrm x\n", "Deletes old files."),
        ("a.js", "/**\n * @fileoverview Reads rows of\n * a table.\n * @module a/b\n */", "Reads rows of a table."),
        ("a.js", "/** @module a/b */\nimport x", ""),
        ("a.c", "/*\n * \\file a.c\n * \\brief Reads rows.\n * \\author Me\n */", "Reads rows."),
        ("a.ts", "// Original file: null\nexport {}", ""),
        ("a.ts", "// This file is generated. Edit build.ts.\nexport {}", ""),
        ("a.c", "/* $OpenBSD: a.c,v 1.1 2004/11/02 17:23:26 me Exp $ */\n/* Reads rows. */\n", "Reads rows."),
        ("a.h", "//===-- A.h - Reads rows --*- C++ -*-===//\n//\n", "A.h - Reads rows"),
        ("a.c", "/*\n  Simple Layer\n  Copyright (C) 1997 Me\n\n  1. The origin must not be misrepresented.\n*/", ""),
        ("a.sh", "# Written by Simon.\n\n# Deletes old files.\n", "Deletes old files."),
        ("a.js", "/**\n * Module dependencies.\n */\n\nvar a = require('a')", ""),
        ("a.js", "/**\n * @author Me\n *  with help of many\n * @license MIT\n *\n * Reads rows.\n */", "Reads rows."),
        ("a.js", "/** @deprecated since 2\n * use the other one */", ""),
        ("a.go", "// Maintains the cache of all open files.\npackage a", "Maintains the cache of all open files."),
        (
            "a.go",
            "// Created by the planner: batches of records.\npackage a",
            "Created by the planner: batches of records.",
        ),
        ("a.go", "// Author pages of the site.\npackage a", "Author pages of the site."),
        ("a.lua", "--[[ Adds all numbers\n]]", "Adds all numbers"),
        ("A.java", "/**\n * A\n */\nclass A", ""),
        ("a.sql", "-- The orders of a shop.\nCREATE TABLE a;", "The orders of a shop."),
        (
            "a.py",
            '"""Copyright (c) 2015 Acme.\n\n* Neither the name of Acme nor the names of others may be used.\n"""\n',
            "",
        ),
        ("a.js", "/*\n * Copyright (c) 2014 Acme.\n *\n * Parses dates.\n */\n", "Parses dates."),
        (
            "a.py",
            '"""Copyright lines of a file, found and compared."""\n',
            "Copyright lines of a file, found and compared.",
        ),
        ("a.rst", "Sums\n----\nIt adds numbers.\n", "It adds numbers."),
    ],
)
def test_what_a_file_says_of_itself(name: str, text: str, expected: str) -> None:
    assert own_documentation(PurePath(name), text) == expected


@given(st.sampled_from(["a.py", "a.rs", "a.c", "a.sh", "a.md"]), st.text(alphabet="\"'/*#!-= \nab\\.", max_size=400))
def test_it_is_short_and_on_one_line_whatever_the_text(name: str, text: str) -> None:
    found = own_documentation(PurePath(name), text)
    assert len(found) <= LONGEST + 1
    assert "\n" not in found


def test_a_long_text_is_cut_at_a_word() -> None:
    found = own_documentation(PurePath("a.md"), "word " * 1_000)
    assert len(found) <= LONGEST + 1
    assert found.endswith("word…")
