"""What is cut out of source code, by language."""

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.ingest.code.languages import LANGUAGES
from dobby_dagster.ingest.file_splitting import split
from dobby_dagster.ingest.splitter_process import Splitter
from dobby_dagster_tests.helpers.pieces import contents, kinds

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
