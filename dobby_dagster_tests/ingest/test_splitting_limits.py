"""Splitting takes time and space in proportion to the text, whatever the text."""

import tracemalloc
from pathlib import PurePath

import pytest

from dobby_dagster.ingest.code.declaration import MAX_NAME
from dobby_dagster.ingest.code.syntax_tree import parse, walk
from dobby_dagster.ingest.file_splitting import split
from dobby_dagster_tests.helpers.pieces import contents

NESTED = {
    "a.js": ("function a(){", "}"),
    "b.js": ("class A { m() { ", "}}"),
    "c.js": ("x = { m() { ", "}}"),
    "a.java": ("class A { ", "}"),
    "a.rs": ("fn f() { ", "}"),
    "a.cpp": ("struct A { int f() { ", "} };"),
    "a.swift": ("func f() { ", "}"),
    "b.cpp": ("#if A\n", "#endif\n"),
    "a.sh": ("f() {\n", "}\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize("file", NESTED)
def test_deep_nesting_takes_linear_space(file: str) -> None:
    begin, end = NESTED[file]
    text = begin * 3_000 + end * 3_000
    tracemalloc.start()
    pieces = split(PurePath(file), text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(len(piece.content) + len(piece.name) for piece in pieces) < 40 * len(text) + 3_000 * 2 * MAX_NAME
    assert peak < 60_000_000
    assert len({piece.name for piece in pieces}) == len(pieces)


def test_what_is_nested_deep_is_in_its_own_piece_and_not_in_all_above_it() -> None:
    text = "".join(f"{'    ' * i}def f{i}():\n" for i in range(6)) + "    " * 6 + "return 1\n"
    cut = contents("a.py", text)
    assert cut["f0"].endswith(f"def f3():\n{' ' * 16}def f4():\n{' ' * 20}...")
    assert "return 1" in cut["f0.f1.f2.f3.f4.f5"]
    assert "return 1" in cut["f0.f1.f2"]


SLOW = {"a.rs": "#!", "a.go": 'R"(', "a.js": "a{"}


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("file", SLOW)
def test_text_that_a_grammar_is_slow_to_read_is_given_up_and_kept_whole(file: str) -> None:
    text = SLOW[file] * 30_000
    pieces = split(PurePath(file), text)
    assert sum(len(piece.content) for piece in pieces) <= 2 * len(text)
    assert pieces


MANY = {
    "a.py": "# c\n" * 60_000 + "def f(): pass\n",
    "b.py": "def f(): pass\n" + "# c\n" * 60_000,
    "a.js": "// c\n" * 60_000 + "function f() {}\n",
    "a.rs": "/// c\n" * 60_000 + "fn f() {}\n",
    "b.rs": "#[a]\n" * 30_000 + "fn f() {}\n",
    "a.c": "/* c */\n" * 60_000 + "int f(void) { return 1; }\n",
    "b.c": "int f" + "(*" * 20_000 + ")" * 20_000 + "(void) { return 1; }\n",
    "c.c": "/*" * 100_000,
    "d.c": "#if A\n{\n#else\n#endif\n" * 20_000,
    "a.go": "type (\n" + "// c\nA int\n" * 20_000 + ")\n",
    "b.js": "x = {" + "f: () => 1,\n" * 20_000 + "};",
    "c.js": "let a" + ", a = () => 1" * 20_000 + ";",
    "a.cpp": "a<" * 200_000,
    "b.cpp": "class A_EXPORT " * 40_000,
    "c.cpp": "template<class T> " * 20_000 + "void f() {}",
    "a.kt": "fun f() {}\n// c\n" * 20_000,
    "d.js": "a" * 500_000 + " = function () {};",
}


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("file", MANY)
def test_long_files_take_linear_time(file: str) -> None:
    pieces = split(PurePath(file), MANY[file])
    assert all(len(piece.name) <= MAX_NAME + 10 for piece in pieces)


def test_the_way_to_a_node_holds_the_comments_above_it() -> None:
    tree = parse("python", b"# a\n# b\nx = 1 # c\n# d\ny = 2\n")
    above = {
        way[1].node.start_point[0]: [c.text.decode() for c in way[1].above]
        for way in walk(tree)
        if len(way) == 2 and "comment" not in way[1].node.type
    }
    assert above == {2: ["# a", "# b"], 4: ["# c", "# d"]}
