"""What is cut out of C and C++, whose preprocessor hides and repeats code."""

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.ingest.code.preprocessor import readable
from dobby_dagster.ingest.file_splitting import split
from dobby_dagster_tests.helpers.pieces import contents, kinds

C = """
#ifndef G_H
#define G_H
/** A point. */
typedef struct {
    double x, y;
} point_t;
/** A shape. */
typedef enum { DOT, LINE } shape;
/** A number. */
typedef union { int i; float f; } number;
/** A ring. */
typedef struct ring { point_t centre; } ring_t, *ring_p;
typedef int plain;
/** Only behind a pointer. */
typedef struct { int a; } *handle;
/** Packed. */
typedef struct __attribute__((packed)) { int a; } rows[10];
/** Coloured. */
enum colour { RED };
/** In a variable. */
static struct options { int a; } defaults;
/** Swaps. */
#define SWAP(a, b) \\
    do { int t = a; \\
    a = b; b = t; } while (0)
#define ONE(a) a
#endif
"""


def test_c_typedefs_enums_unions_and_macros_come_with_their_comments() -> None:
    assert kinds("a.h", C) == [
        ("point_t", "class"), ("shape", "class"), ("number", "class"), ("ring_t", "class"), ("handle", "class"),
        ("rows", "class"), ("colour", "class"), ("options", "class"), ("SWAP", "function"),
    ]  # fmt: skip
    cut = contents("a.h", C)
    assert cut["point_t"] == "/** A point. */\ntypedef struct {\n    double x, y;\n} point_t;"
    assert cut["ring_t"].startswith("/** A ring. */\ntypedef struct ring {")
    assert cut["colour"] == "/** Coloured. */\nenum colour { RED }"
    assert cut["options"] == "/** In a variable. */\nstatic struct options { int a; }"


def test_c_functions_whose_head_is_in_two_halves_are_one_with_its_comment() -> None:
    text = """#include <a.h>
/* Opens. */
#ifdef _WIN32
int port_open(const char *name, int flags) {
#else
int port_open(const char *name) {
#endif
    return name != 0;
}

/* Closes. */
int port_close(int h) { return h; }
#if 0
int dead(void) {
#endif
/* After. */
int after(void) { return 1; }
"""
    assert kinds("a.c", text) == [("port_open", "function"), ("port_close", "function"), ("after", "function")]
    cut = contents("a.c", text)
    assert cut["port_open"] == text[text.index("/* Opens") : text.index("\n\n/* Closes")]
    assert cut["after"] == "/* After. */\nint after(void) { return 1; }"


def test_a_comment_above_an_ifdef_belongs_to_both_halves() -> None:
    text = "/* Adds. */\n#ifdef A\nint add(int a) { return a; }\n#elif B\nint add(int b) { return b; }\n#else\n/* Own. */\nint add(int c) { return c; }\n#endif\n"
    assert [piece.content for piece in split(PurePath("a.c"), text)] == [
        "/* Adds. */\nint add(int a) { return a; }",
        "/* Adds. */\nint add(int b) { return b; }",
        "/* Own. */\nint add(int c) { return c; }",
    ]
    many = "/* Windows. */\n#ifdef A\nint a(void) { return 1; }\nint b(void) { return 1; }\n#endif\n"
    assert [piece.content[:3] for piece in split(PurePath("a.c"), many)] == ["int", "int"]


@pytest.mark.parametrize(
    "head",
    [
        "class UI_EXPORT Window : public Widget",
        "class API Window",
        "struct MYLIB_API(1) Window final",
        "class Q_CORE_EXPORT DEPRECATED Window",
        "class my_EXPORT Window : Base<int>",
        "template <class T> class API Window",
    ],
)
def test_cpp_classes_behind_an_export_macro_are_classes(head: str) -> None:
    text = f"namespace ui {{\n/// Shown.\n{head} {{\npublic:\n  /// Shows.\n  void show() {{ x = 1; }}\n  int x;\n}};\n}}\n"
    assert kinds("a.hpp", text) == [("ui.Window", "class"), ("ui.Window.show", "method")]
    cut = contents("a.hpp", text)
    assert cut["ui.Window"].startswith(
        f"/// Shown.\n{head} {{\npublic:\n  /// Shows.\n  void show() {{ … }}\n  int x;\n}}"
    )
    assert cut["ui.Window.show"] == "/// Shows.\nvoid show() { x = 1; }"


def test_macros_that_are_no_code_do_not_hide_it() -> None:
    text = """QT_BEGIN_NAMESPACE
/// A window.
class Q_GUI_EXPORT Window : public QObject {
  Q_OBJECT
public:
  /// M.
  Q_INVOKABLE int m() { return 1; }
signals:
  void changed();
public slots:
  void s() { }
};
QT_END_NAMESPACE
"""
    assert kinds("a.cpp", text) == [("Window", "class"), ("Window.m", "method"), ("Window.s", "method")]
    assert "Q_OBJECT" in contents("a.cpp", text)["Window"]
    wrapped = "EXTERN_C_BEGIN\n/* F. */\nint f(void) { return 1; }\nEXTERN_C_END\n"
    assert contents("a.c", wrapped) == {"f": "/* F. */\nint f(void) { return 1; }"}


def test_branches_that_share_a_brace_inside_a_function_do_not_end_it() -> None:
    text = "/* F. */\nint f(int x) {\n#ifdef A\n  if (x) {\n#else\n  if (!x) {\n#endif\n    return 1;\n  }\n  return 0;\n}\n"
    assert contents("a.c", text + "int g(void) { return 1; }\n") == {
        "f": text.strip(),
        "g": "int g(void) { return 1; }",
    }


def test_cpp_tests_are_named_by_their_macro() -> None:
    assert kinds("a.cpp", "TEST(Suite, Name) { int a = 1; }\nTEST(Suite, Other) { int a = 1; }\n") == [
        ("TEST(Suite, Name)", "function"),
        ("TEST(Suite, Other)", "function"),
    ]


@given(text=st.text(alphabet="#ifdefnolse {}\n\"'/*", max_size=200))
def test_what_the_grammar_is_shown_is_as_long_as_the_text(text: str) -> None:
    shown, gone = readable(text.encode())
    assert [len(line) for line in shown.split(b"\n")] == [len(line) for line in text.encode().split(b"\n")]
    assert all(0 <= row <= text.count("\n") for row in gone)
