"""What code refers to, as the syntax trees say it, in each language."""

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.ingest.code.declaration import MAX_NAME
from dobby_dagster.ingest.code.references import MAX_CALLS, MAX_IMPORTS, MAX_REFERENCES, Import, References
from dobby_dagster.ingest.file_splitting import split
from dobby_dagster.ingest.piece import Piece
from dobby_dagster.ingest.splitter_process import Splitter

# A file, the calls of the method or function `m`, the bases of the class, and what is imported.
CASES: dict[str, tuple[str, str, str, list[tuple[str, str, str]]]] = {
    "a.py": (
        "import a.b as c, os.path\nfrom ..p import q as r\nfrom . import *\nclass A(B, m.C, metaclass=M):\n"
        "    x: Foo\n    def m(self, y, z: 'Foo | None' = 1):\n        self.k(); self.x.go(); z.run(); y.run(); y()\n"
        "        c.d(); w = Foo(); w.stop(); super().m(); f(1).last(); w[0]()\n        with Bar() as v: v.read()\n",
        "self.k self.x.go Foo().run .run c.d Foo Foo().stop super.m f .last Bar Bar().read super",
        "B m.C",
        [("a.b", "", "c"), ("os.path", "", "os.path"), ("..p", "q", "r"), (".", "*", "")],
    ),
    "a.ts": (
        "import d, {a as b} from './x'; import * as ns from 'y'; export {z} from './z'; export * from './w';\n"
        "const {q, w: v} = require('r');\n"
        "class A extends B.C<T> implements I { private x: Foo; m(y: Foo, u: any) {"
        " this.k(); this.x.go(); y.run(); u.run(); const s = new Foo<T>(); s.stop(); ns.f(); a?.b(); } }",
        "this.k this.x.go Foo().run .run Foo Foo().stop ns.f a.b",
        "B.C I",
        [("./x", "default", "d"), ("./x", "a", "b"), ("y", "", "ns"), ("./z", "z", "z"), ("./w", "*", ""),
         ("r", "q", "q"), ("r", "w", "v")],
    ),
    "a.tsx": ("export function m() { return <div><Foo x={g()}/><Bar.Baz/></div>; }", "Foo g Bar.Baz", "", []),
    "a.go": (
        'package p\nimport (\n f "fmt"\n . "x/y"\n _ "z"\n "q/r"\n)\ntype A struct { c *Foo }\n'
        "func (t *A) m(a, b int, c *pkg.X) { x := Foo{}; y := &Foo{}; z := NewFoo(); t.k(); t.c.start(); x.run(); y.stop();"
        " z.read(); c.write(); f.Println(); a() }",
        "NewFoo A().k A().c.start Foo().run Foo().stop Foo().read pkg.X().write f.Println",
        "",
        [("fmt", "", "f"), ("x/y", "*", ""), ("z", "", ""), ("q/r", "", "r")],
    ),
    "a.rs": (
        "use a::{b::C as D, self, e::*}; use crate::x::Y; pub mod n;\nstruct A { f: Foo }\n"
        "impl A { fn m(&self, a: &mut Foo) { let x: Foo = Foo::new(); self.k(); a.run::<T>(); x.stop(); go!(1);"
        " Vec::<T>::new(); crate::y::z(); } }",
        "Foo.new self.k Foo().run Foo().stop go Vec.new crate.y.z",
        "",
        [("a::b", "C", "D"), ("a", "", "a"), ("a::e", "*", ""), ("crate::x", "Y", "Y"), ("self::n", "", "n")],
    ),
    "a.java": (
        "import a.b.C; import static x.Y.z; import q.*; class A extends B<T> implements I { private Foo f;"
        " void m(Foo g) { Foo h = new Foo(); this.k(); f.go(); g.run().then(); k(); super.k(); } }",
        "Foo this.k self.f.go .then Foo().run k super.k",
        "B I",
        [("a.b", "C", "C"), ("x.Y", "z", "z"), ("q", "*", "")],
    ),
    "a.cpp": (
        '#include "a/b.h"\n#include <c.h>\nclass A : public B { Foo f; void m(Foo& g, Foo *h) {'
        " Foo* j = new Foo(1); h->run(); j->stop(); ns::f<int>(1); this->k(); f.go(); } };",
        "Foo Foo().run Foo().stop ns.f this.k self.f.go",
        "B",
        [("./a/b.h", "*", ""), ("<c.h", "*", "")],
    ),
    "a.c": ('#include "b.h"\nint g(int);\nint m(struct s *p) { p->go(p); return g(1); }', "s().go g", "", [("./b.h", "*", "")]),
    "a.cs": (
        "using System.Text; using X = A.B; class A : B, I { Foo f; void m(Foo g) { var h = new Foo(); this.k();"
        " g.Run(); h.Stop(); f.Go(); } }",
        "Foo this.k Foo().Run Foo().Stop self.f.Go",
        "B I",
        [("System", "Text", "Text"), ("A", "B", "X")],
    ),
    "a.rb": (
        "require 'a/b'\nrequire_relative 'c'\nclass A < B\n  def m(x)\n    @f = Foo.new\n    @f.go(1)\n    y = Foo.new\n"
        "    y.run\n    k(1)\n    self.w\n  end\nend\n",
        "Foo.new self.f.go Foo().run k self.w",
        "B",
        [("a/b", "*", ""), ("./c", "*", "")],
    ),
    "a.php": (
        "<?php use A\\B\\C as D; class A extends B { function m(Foo $g) { $h = new Foo(); $this->k(); $g->run(); self::s();"
        " f(); \\N\\f(); parent::k(); $h->stop(); } }",
        "Foo this.k Foo().run self.s f N.f parent.k Foo().stop",
        "B",
        [("A.B", "C", "D")],
    ),
    "a.kt": (
        "import a.b.C as D\nclass A : B() { val f: Foo = Foo()\n fun m(g: Foo) { this.k(); g.run(); k() } }",
        "this.k Foo().run k", "B", [("a.b", "C", "D")],
    ),
    "a.swift": (
        "import Foundation\nclass A: B { var f: Foo = Foo()\n func m(g: Foo) { let h = Foo(); self.k(); g.run(); h.stop() } }",
        "Foo self.k Foo().run Foo().stop", "B", [("Foundation", "", "Foundation")],
    ),
    "a.scala": (
        "import a.b.{C, D => E}\nclass A extends B { val f: Foo = new Foo()\n def m(g: Foo) = { val h = Foo(); this.k();"
        " g.run(); h.stop() } }",
        "Foo this.k Foo().run Foo().stop", "B", [("a.b", "C", "C"), ("a.b", "D", "E")],
    ),
    "a.sh": (". ./x.sh\nsource y.sh\nsource $z\nm() { g a; }\n", "g", "", [("./x.sh", "*", ""), ("y.sh", "*", "")]),
}  # fmt: skip


def last(pieces: list[Piece], name: str) -> Piece | None:
    return next((piece for piece in pieces if piece.name.split(".")[-1] == name), None)


@pytest.mark.parametrize("file", CASES)
def test_calls_bases_and_imports(file: str) -> None:
    text, calls, bases, imports = CASES[file]
    pieces = split(PurePath(file), text)
    method, owner = last(pieces, "m"), last(pieces, "A")
    assert method is not None
    assert sorted(method.references.calls) == sorted(calls.split())
    assert (owner.references.bases if owner else ()) == tuple(bases.split())
    assert [(each.module, each.name, each.alias) for each in pieces[0].of_file.imports] == imports


def test_a_call_belongs_to_the_innermost_part_and_else_to_the_file() -> None:
    pieces = split(PurePath("a.py"), "def f():\n    a()\n    def g():\n        b()\nclass C:\n    x = c()\nd()\n")
    assert {piece.name: piece.references.calls for piece in pieces} == {"f": ("a",), "f.g": ("b",), "C": ("c",)}
    assert pieces[0].of_file.calls == ("d",)
    assert {piece.of_file for piece in pieces[1:]} == {References()}


def test_a_file_without_parts_says_what_it_imports() -> None:
    [piece] = split(PurePath("__init__.py"), "from .a import b\nx = 1\n")
    assert (piece.kind, piece.content) == ("file", "from .a import b\nx = 1")
    assert piece.of_file.imports == (Import(".a", "b", "b"),)


def test_variables_of_an_outer_function_are_known_in_the_inner_one() -> None:
    text = "def f(x: Foo, y):\n    def g():\n        x.a(); y.b(); y()\n"
    assert split(PurePath("a.py"), text)[1].references.calls == ("Foo().a", ".b")


def test_a_field_has_the_type_of_the_parameter_that_it_gets() -> None:
    text = (
        "class A:\n    def __init__(self, x: Foo, y):\n        self._x = x\n        self.y = y\n        self.z = None\n"
    )
    assert split(PurePath("a.py"), text)[0].references.fields == (("_x", "Foo"),)


def test_what_is_beyond_the_limits_is_left_out() -> None:
    text = "".join(f"import m{i}\n" for i in range(1_500)) + "def f():\n" + "".join(f"    c{i}()\n" for i in range(900))
    [piece] = split(PurePath("a.py"), text)
    assert (len(piece.references.calls), len(piece.of_file.imports)) == (MAX_CALLS, MAX_IMPORTS)
    many = split(
        PurePath("a.js"),
        "".join(f"function f{i}() {{ {''.join(f'g{j}();' for j in range(300))} }}\n" for i in range(90)),
    )
    assert sum(len(each.references.calls) for each in many) <= MAX_REFERENCES
    assert split(PurePath("a.py"), f"def f():\n    {'a' * 9_000}()\n")[0].references.calls == ()


def test_long_lists_of_bases_do_not_use_up_the_time_of_a_file() -> None:
    text = "".join(f"class C{i}({'a' * 995}):\n    pass\n" for i in range(900))
    with Splitter() as splitter:
        assert len(splitter.pieces(PurePath("a.py"), text)) == 900


TEXTS = st.lists(
    st.sampled_from(
        [*"(){}[]<>.,:;=*&$@#'\"\\ \n", "def f", "class A", "import ", "from ", "use a::{", "self.", "super()", "x", "Foo",
         "new ", "func ", "fn ", "\n    ", "é", "const {", "require(", "#include <", "impl "]
    ), max_size=60,
).map("".join)  # fmt: skip


@given(st.sampled_from(sorted(CASES)), TEXTS)
def test_any_text_gives_short_names(file: str, text: str) -> None:
    for piece in split(PurePath(file), text):
        for each in (piece.references, piece.of_file):
            names = [*each.calls, *each.bases, *(part for pair in each.fields for part in pair)]
            names += [part for one in each.imports for part in (one.module, one.name, one.alias)]
            assert all(len(name) <= 2 * MAX_NAME + 10 for name in names)


def test_they_come_unchanged_out_of_the_other_process() -> None:
    with Splitter() as splitter:
        for file, (text, *_) in CASES.items():
            assert splitter.pieces(PurePath(file), text) == split(PurePath(file), text)
