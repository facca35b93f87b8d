"""What is cut out of source code, by language, and that it takes linear time and space."""

import tracemalloc
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.ingest.code.declaration import MAX_NAME
from dobby_dagster.ingest.code.languages import LANGUAGES
from dobby_dagster.ingest.code.preprocessor import readable
from dobby_dagster.ingest.code.syntax_tree import parse, walk
from dobby_dagster.ingest.file_splitting import split
from dobby_dagster.ingest.splitter_process import Splitter


def kinds(file: str, text: str) -> list[tuple[str, str]]:
    return [(piece.name, piece.kind) for piece in split(PurePath(file), text)]


def contents(file: str, text: str) -> dict[str, str]:
    return {piece.name: piece.content for piece in split(PurePath(file), text)}


ASSIGNED = {
    "/** Ticks. */\nClock.prototype.tick = function () { return 1; };": ("Clock.tick", "method"),
    "/** Reads. */\nexports.read = function (p) { return p; };": ("read", "function"),
    "/** Halts. */\nmodule.exports.halt = () => exit(0);": ("halt", "function"),
    "module.exports = function main() { go(); };": ("main", "function"),
    "module.exports = () => go();": ("module.exports", "function"),
    "handlers['on-load'] = function () {};": ("on-load", "function"),
    "a.b.c = async function* () {};": ("a.b.c", "function"),
    "window.App = class { };": ("window.App", "class"),
    "export const id = (x) => x;": ("id", "function"),
    "/** B. */\nexport const Button = memo(function Inner({ label }) { return label; });": ("Button", "function"),
    "export const Field = React.memo(forwardRef((props, ref) => ref));": ("Field", "function"),
    "export const load = cache(async (id) => get(id));": ("load", "function"),
    "export default function () { return 1; }": ("default", "function"),
    "export default () => 1;": ("default", "function"),
    "export default memo(function Page() { return 1; });": ("Page", "function"),
    "export default class { }": ("default", "class"),
    "const Model = class extends Base { };": ("Model", "class"),
    "let wrapped = (function () { return 1; });": ("wrapped", "function"),
    "/** Made. */\nexports = module.exports = function create() { return 1; };": ("create", "function"),
}


@pytest.mark.parametrize("text", ASSIGNED)
@pytest.mark.parametrize("ending", ["js", "jsx", "ts", "tsx"])
def test_javascript_declares_by_assigning(text: str, ending: str) -> None:
    [piece] = split(PurePath(f"a.{ending}"), text)
    assert (piece.name, piece.kind) == ASSIGNED[text]
    assert piece.content == text


def test_javascript_objects_and_classes_hold_methods() -> None:
    text = """
module.exports = {
  /** Adds. */
  add: function (a, b) { return a + b; },
  sub: (a, b) => a - b, // not above
  mul(a, b) { return a * b; },
  "in-quotes": async x => x,
  [key]: () => 1,
  other, value: 3,
  nested: { deep() { return 1; } },
};
const table = { get() { return 1; } };
Lamp.prototype = { on() { this.lit = true; } };
export default { methods: { go() {} } };
const App = createClass({ render: function () { return 1; } });
class Lamp {
  /** Off. */
  off = () => { this.lit = false; };
  static #id = function () { return 1; };
  count = 3;
}
"""
    assert kinds("a.js", text) == [
        ("add", "method"), ("sub", "method"), ("mul", "method"), ("in-quotes", "method"), ("[key]", "method"),
        ("nested.deep", "method"), ("table.get", "method"), ("Lamp.on", "method"), ("methods.go", "method"),
        ("App.render", "method"),
        ("Lamp", "class"), ("Lamp.off", "method"), ("Lamp.#id", "method"),
    ]  # fmt: skip
    cut = contents("a.js", text)
    assert cut["add"] == "/** Adds. */\nadd: function (a, b) { return a + b; }"
    assert cut["mul"] == "mul(a, b) { return a * b; }"
    assert cut["Lamp"] == (
        "class Lamp {\n  /** Off. */\n  off = () => { … };\n  static #id = function () { … };\n  count = 3;\n}"
    )


@pytest.mark.parametrize(
    "text",
    [
        "const t = setTimeout(() => go(), 5);", "const squares = numbers.map((x) => x * x);", "go(function () {});",
        "const p = new Promise((resolve) => resolve());", "let a = 1;", "x = y;", "const { a } = require('a');",
        "(function () { go(); })();",
    ],
)  # fmt: skip
def test_what_is_not_assigned_as_a_function_is_none(text: str) -> None:
    assert kinds("a.js", text) == [("", "file")]


TYPES = """
/** What the card shows. */
export type CardProps = { title: string };
/** Can be drawn. */
export abstract class Drawable {
  abstract draw(): void;
  /** Twice. */
  twice() { this.draw(); }
  private once = () => 1;
}
export namespace Helpers {
  /** Adds one. */
  export function inc(n: number) { return n + 1; }
}
declare module "x" { interface W { a: number } }
enum E { X }
"""


@pytest.mark.parametrize("ending", ["ts", "tsx", "mts", "cts"])
def test_types_classes_and_namespaces_are_the_same_in_ts_and_tsx(ending: str) -> None:
    assert kinds(f"a.{ending}", TYPES) == [
        ("CardProps", "class"), ("Drawable", "class"), ("Drawable.twice", "method"), ("Drawable.once", "method"),
        ("Helpers.inc", "function"), ('"x".W', "class"), ("E", "class"),
    ]  # fmt: skip
    assert contents(f"a.{ending}", TYPES)["Drawable"].startswith(
        "/** Can be drawn. */\nexport abstract class Drawable {"
    )


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


def test_rust_macros_are_functions() -> None:
    text = "/// Makes one.\n#[macro_export]\nmacro_rules! one {\n    ($x:expr) => { $x };\n}\n"
    assert kinds("a.rs", text) == [("one", "function")]
    assert contents("a.rs", text)["one"] == text.strip()


def test_rust_methods_are_named_by_their_type_and_inner_comments_are_the_modules() -> None:
    text = "mod inner {\n    //! Of the module.\n    /// Formats.\n    impl<T: Display> fmt::Display for Wrapper<T> {\n        /// F.\n        fn fmt(&self) {}\n    }\n    fn g() {}\n}\n"
    assert kinds("a.rs", text) == [("inner.Wrapper.fmt", "method"), ("inner.g", "function")]
    assert contents("a.rs", text)["inner.Wrapper.fmt"] == "/// F.\nfn fmt(&self) {}"
    assert contents("a.rs", "mod m {\n//! Of m.\nfn g() {}\n}\n") == {"m.g": "fn g() {}"}


def test_go_receivers_with_type_parameters_and_groups_of_types() -> None:
    text = """package m
// Find looks.
func (t *Table[K, V]) Find(k K) V { return t.rows[k] }
func (t Table[K, V]) Size() int { return 0 }
func (*Plain[T]) Name() string { return "" }
func (p (Plain[T])) Odd() {}
type (
\t// Point is a place.
\tPoint struct {
\t\tX, Y int
\t}

\tLabel string // not above
\tAlias = Label
)
// Lone is alone.
type Lone[T any] struct{ a T }
"""
    assert [name for name, _ in kinds("a.go", text)] == [
        "Table.Find", "Table.Size", "Plain.Name", "Plain.Odd", "Point", "Label", "Alias", "Lone",
    ]  # fmt: skip
    cut = contents("a.go", text)
    assert cut["Table.Find"].startswith("// Find looks.\nfunc (t *Table[K, V]) Find")
    assert cut["Point"] == "// Point is a place.\ntype Point struct {\n\tX, Y int\n}"
    assert cut["Label"] == "type Label string"
    assert cut["Alias"] == "type Alias = Label"
    assert cut["Lone"] == "// Lone is alone.\ntype Lone[T any] struct{ a T }"


MORE = {
    "a.cs": (
        "namespace A.B {\n/// Doc.\n[Serializable]\npublic class C<T> : D {\n  /// Ctor.\n  public C(int a) : base(a) { x = a; }\n  ~C() { }\n  [Test] public async Task<int> M<U>(U u) => 1;\n  public static C operator +(C a, C b) { return a; }\n}\npublic interface I { void F(); }\npublic struct S { }\npublic record R(int A);\nenum E { A }\n}\n",
        ["C class", "C.C method", "C.~C method", "C.M method", "C.operator method", "I class", "I.F method", "S class", "R class", "E class"],
        ("C", "/// Doc.\n[Serializable]\npublic class C<T> : D {\n  /// Ctor.\n  public C(int a) : base(a) { … }\n"),
    ),
    "a.rb": (
        "# Doc.\nmodule A\n  # Class.\n  class B < C::D\n    # First.\n    def m(a) = a\n    # K.\n    def self.k(b)\n      b + 1\n    end\n    # Z.\n    private def z; 1; end\n  end\nend\n",
        ["A class", "A.B class", "A.B.m method", "A.B.k method", "A.B.z method"],
        ("A.B.k", "# K.\ndef self.k(b)\n  b + 1\nend"),
    ),
    "a.php": (
        "<?php\nnamespace A;\n/** Doc. */\n#[Attr]\nabstract class C {\n  /** M. */\n  public function m(int $a): int { return 1; }\n}\ninterface I { function f(); }\ntrait T { function g() {} }\nenum S: string { case A = 'a'; }\n/** Top. */\nfunction top($x) { return $x; }\n",
        ["C class", "C.m method", "I class", "I.f method", "T class", "T.g method", "S class", "top function"],
        ("top", "/** Top. */\nfunction top($x) { return $x; }"),
    ),
    "a.kt": (
        "package a\n/** Doc. */\n@Anno\nclass C<T>(val x: Int) : D() {\n  /** M. */\n  fun m(a: Int): Int { return a }\n  constructor() : this(1) { }\n  companion object {\n    fun k() {}\n  }\n}\nobject O {\n  fun g() {}\n}\nfun String.ext(): Int = 1\n",
        ["C class", "C.m method", "C.constructor method", "C.Companion class", "C.Companion.k method", "O class", "O.g method", "ext function"],
        ("C", "/** Doc. */\n@Anno\nclass C<T>(val x: Int) : D() {\n  /** M. */\n  fun m(a: Int): Int { … }\n"),
    ),
    "a.swift": (
        "/// Doc.\n@objc\npublic class C<T>: D {\n  /// M.\n  func m(_ a: Int) -> Int { return a }\n  init(x: Int) { }\n  deinit { }\n}\nstruct S { func z() {} }\nextension S: P { func f() {} }\nprotocol P { func f() }\nfunc top() {}\n",
        ["C class", "C.m method", "C.init method", "C.deinit method", "S class", "S.z method", "S#2 class", "S.f method", "P class", "top function"],
        ("C.m", "/// M.\nfunc m(_ a: Int) -> Int { return a }"),
    ),
    "a.scala": (
        "package a.b\n/** Doc. */\n@anno\nclass C[T](x: Int) extends D {\n  /** M. */\n  def m(a: Int): Int = { a }\n}\nobject O { def q() = 1 }\ntrait T { def z = 2 }\nenum E { case A, B }\n",
        ["C class", "C.m method", "O class", "O.q method", "T class", "T.z method", "E class"],
        ("C", "/** Doc. */\n@anno\nclass C[T](x: Int) extends D {\n  /** M. */\n  def m(a: Int): Int = { … }\n}"),
    ),
    "a.sh": (
        "#!/bin/bash\n\n# Doc.\nfoo() {\n  echo hi\n}\nfunction bar { inner() { :; }; }\nbaz() ( echo 1 )\nmain \"$@\"\n",
        ["foo function", "bar function", "bar.inner function", "baz function"],
        ("foo", "# Doc.\nfoo() {\n  echo hi\n}"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("file", MORE)
def test_more_languages_are_cut_into_their_parts(file: str) -> None:
    text, expected, (name, content) = MORE[file]
    assert [f"{name} {kind}" for name, kind in kinds(file, text)] == expected
    assert contents(file, text)[name].startswith(content)


_WORDS = "def class function fn func f x A self this import from use require( new super() a.b.c x(y) A<B>(c) @x $y ::z .w fn!("
_MARKS = "@ $ @@ $$ ( ) { } [ ] < > . .. :: -> ?. ! ? ; : , = => \" ' ` # // /* */ \\ \u0085 \ufeff é"
SCRAPS = [*_WORDS.split(), *_MARKS.split(" "), " ", "\n", "\n\n", "\n    "]


@pytest.mark.parametrize("ending", sorted({extension for language in LANGUAGES for extension in language.extensions}))
@given(scraps=st.lists(st.sampled_from(SCRAPS), max_size=40))
def test_whatever_looks_like_code_is_split_without_an_error(ending: str, scraps: list[str]) -> None:
    text = "".join(scraps)
    assert "".join(piece.content for piece in split(PurePath(f"a{ending}"), text)) or not text.strip("\ufeff").strip()


@pytest.mark.parametrize("ending", [language.extensions[0] for language in LANGUAGES] + [".md", ".txt"])
@given(text=st.text(alphabet=st.characters(exclude_characters="\r", exclude_categories=["Cs"])))
def test_line_ends_make_no_difference(splitter: Splitter, ending: str, text: str) -> None:
    path, plain = PurePath(f"a{ending}"), text.lstrip("\ufeff")
    expected = splitter.pieces(path, plain)
    for same in (plain.replace("\n", "\r\n"), plain.replace("\n", "\r"), f"\ufeff{plain}"):
        assert splitter.pieces(path, same) == expected


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
    assert cut["f0"].endswith(
        "def f3():\n            def f4():\n                ...".replace(
            "            def f4", "                def f4"
        ).replace("                ...", "                    ...")
    )
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
