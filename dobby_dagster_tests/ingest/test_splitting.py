"""A text is cut into its parts: functions, classes, sections."""

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.ingest.code.languages import LANGUAGES
from dobby_dagster.ingest.file_splitting import split
from dobby_dagster.ingest.splitter_process import Splitter
from dobby_dagster_tests.helpers.sources import GO, MARKDOWN, PYTHON

RUST = """
/// Adds one.
/// Really.
#[inline]
pub fn add(x: i32) -> i32 { x + 1 }
struct P { x: i32 } // not above
impl P {
    /// Gets x.
    fn x(&self) -> i32 { self.x }
}
mod deep { fn q() {} }
"""


JAVASCRIPT = """
// Says hi.
export function f(a) { return a }
const g = (x) => x + 1;
class A { m(x) { return x } }
"""

TYPESCRIPT = """
interface I { a: number }
export class B<T> { private m(x: T): T { return x } }
namespace N { export function z() {} }
enum E { X }
"""

JAVA = """
/** Doc. */
public class A {
  /** M. */
  public int m(int x) { return x; }
  A() { }
}
"""

C = """
#include <x.h>
/* doc */
static int *f(int a) { return 0; }
struct s { int a; };
struct s *declared;
"""

CPP = """
namespace n { template<class T> class C { public: int m() const { return 1; } }; }
int n::C<int>::z() { return 2; }
"""


EXPECTED = {
    "x.py": (
        PYTHON,
        [("f", "function"), ("A", "class"), ("A.m", "method"), ("A.m.inner", "function"), ("A.m#2", "method")],
    ),
    "x.rs": (RUST, [("add", "function"), ("P", "class"), ("P.x", "method"), ("deep.q", "function")]),
    "x.go": (GO, [("Reader.Read", "method"), ("Reader", "class"), ("F", "function")]),
    "x.js": (JAVASCRIPT, [("f", "function"), ("g", "function"), ("A", "class"), ("A.m", "method")]),
    "x.ts": (TYPESCRIPT, [("I", "class"), ("B", "class"), ("B.m", "method"), ("N.z", "function"), ("E", "class")]),
    "x.java": (JAVA, [("A", "class"), ("A.m", "method"), ("A.A", "method")]),
    "x.c": (C, [("f", "function"), ("s", "class")]),
    "x.cpp": (CPP, [("n.C", "class"), ("n.C.m", "method"), ("n::C<int>::z", "function")]),
    "x.md": (MARKDOWN, [("", "section"), ("A", "section"), ("A > B", "section"), ("C", "section")]),
    "x.txt": ("  just text \n", [("", "file")]),
    "empty.py": ("x = 1\n", [("", "file")]),
    "blank.py": (" \n", []),
}


@pytest.mark.parametrize("file", EXPECTED)
def test_each_language_is_cut_into_its_parts(file: str) -> None:
    text, expected = EXPECTED[file]
    assert [(piece.name, piece.kind) for piece in split(PurePath(file), text)] == expected


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("struct S { int a; };\nint f(void) { return 1; }\n", "c"),
        ('#ifdef __cplusplus\nextern "C" {\n#endif\n#include <string.h>\nint f(void) { return 1; }\n', "c"),
        ("/* of a class of things */\nint f(int class) { return class; }\n", "c"),
        ("namespace n {\nint f() { return 1; }\n}\n", "cpp"),
        ("class A {\n public:\n  int f() { return 1; }\n};\n", "cpp"),
        ("template <typename T>\nT f(T t) { return t; }\n", "cpp"),
        ("#include <vector>\nint f() { return 1; }\n", "cpp"),
        ("inline int f() { return std::min(1, 2); }\n", "cpp"),
    ],
)
def test_a_header_is_cpp_where_it_has_what_c_has_not(text: str, language: str) -> None:
    pieces = split(PurePath("a.h"), text)
    assert {piece.language for piece in pieces} == {language}
    assert "f" in {piece.name.split(".")[-1] for piece in pieces}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("struct A { int& at(int i) { return a; } };", "A.at"),
        ("struct A { A&& move() { return a; } };", "A.move"),
        ("struct A { int** twice() { return p; } };", "A.twice"),
        ("struct A { const A& operator=(const A& o) { return *this; } };", "A.operator="),
        ("struct A { operator bool() const { return true; } };", "A.operator bool"),
        ("struct A { operator const char*() const { return s; } };", "A.operator const char*"),
        ("struct A { template <typename T> T& get() { return t; } };", "A.get"),
        ("struct A { int (*chosen(int x))(double) { return 0; } };", "A.chosen"),
        ("int (kept)(int x) { return 0; }", "kept"),
        ("A::B& A::B::front() { return x; }", "A::B::front"),
        ("std::ostream& operator<<(std::ostream& s, const A& a) { return s; }", "operator<<"),
        ("[[nodiscard]] int& f() { return x; }", "f"),
    ],
)
def test_names_of_cpp_are_those_of_the_functions(text: str, name: str) -> None:
    assert split(PurePath("a.cpp"), text)[-1].name == name


def test_a_part_brings_its_comments_decorators_and_attributes_and_no_others() -> None:
    by_name = {
        piece.name: piece.content
        for file in ("x.py", "x.rs", "x.go")
        for piece in split(PurePath(file), EXPECTED[file][0])
    }
    assert by_name["f"].startswith("@cache\ndef f(x):")
    assert by_name["A.m#2"] == "@property\ndef m(self): return 2"
    assert by_name["add"].startswith("/// Adds one.\n/// Really.\n#[inline]\npub fn add")
    assert by_name["P.x"] == "/// Gets x.\nfn x(&self) -> i32 { self.x }"
    assert by_name["P"] == "struct P { x: i32 }"
    assert by_name["Reader.Read"].startswith("// Read reads.\nfunc (r *Reader[T])")


@pytest.mark.parametrize(
    ("above", "belongs"),
    [
        ("/*\n * 'add()' - Add a job.\n */\n", True),
        ("/*\n *----\n *\n * add --\n *\n *\tAdds a job.\n *\n *----\n */\n", True),
        ("/* add: Adds a job. */\n", True),
        ("/*\n * Jobs that are added.\n */\n", False),
        ("/* address: where it lives */\n", False),
        ("// add\n", False),
        ("/* add */\n\n", False),
    ],
)
def test_a_comment_a_blank_line_above_belongs_to_the_function_that_it_names(above: str, belongs: bool) -> None:
    [piece] = split(PurePath("a.c"), f"{above}\nint\nadd(int job)\n{{\n    return job;\n}}\n")
    assert (piece.name, piece.kind) == ("add", "function")
    assert piece.content.startswith(above.rstrip() if belongs else "int")


def test_a_class_is_shown_without_the_bodies_of_its_functions() -> None:
    [outline] = [piece.content for piece in split(PurePath("x.py"), PYTHON) if piece.kind == "class"]
    assert outline == (
        '# above the class\nclass A:\n    """Doc of A."""\n    limit = 3\n\n    def m(self):\n        ...\n\n'
        "    @property\n    def m(self): ..."
    )


def test_lines_are_those_of_the_file() -> None:
    lines = {piece.name: piece.line for piece in split(PurePath("x.py"), PYTHON)}
    assert (lines["f"], lines["A"], lines["A.m"]) == (2, 8, 12)


@pytest.mark.parametrize("ending", [*(language.extensions[0] for language in LANGUAGES), ".md", ".txt"])
@given(text=st.text())
def test_any_text_is_split_without_an_error_into_pieces_with_unique_names(
    splitter: Splitter, ending: str, text: str
) -> None:
    pieces = splitter.pieces(PurePath(f"x{ending}"), text)
    assert len({piece.name for piece in pieces}) == len(pieces)
    assert all(piece.content.strip() for piece in pieces)
