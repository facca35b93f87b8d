"""Which definition a name stands for, by the rules of each language, in whole trees."""

from pathlib import Path

import pytest

from dobby_dagster.domain.code_graph import EdgeKind, FoundBy
from dobby_dagster_tests.helpers.code_graphs import arrows, graph_of

CALLS, IMPORTS, CONTAINS = EdgeKind.CALLS, EdgeKind.IMPORTS, EdgeKind.CONTAINS

# Files, and all calls and imports that are in them.
TREES: dict[str, tuple[dict[str, str], str, str]] = {
    "python, a package with relative and absolute imports, a re-export and a star": (
        {
            "pkg/__init__.py": "from .core import Table\nfrom .core import find as search\n",
            "pkg/core.py": "import json\n\ndef find(): return helper()\ndef helper(): return json.dumps(1)\n"
            "class Base:\n    def close(self): pass\n"
            "class Table(Base):\n    def rows(self): return self.each()\n    def each(self): self.close()\n",
            "pkg/sub/__init__.py": "x = 1\n",
            "pkg/sub/deep.py": "from ..core import *\nfrom .. import core\nimport pkg.core as c\n"
            "def one(): find(); core.helper(); c.find()\n",
            "main.py": "import pkg\nfrom pkg import Table, search\nimport numpy as np\n"
            "def run(t: Table):\n    t.rows(); search(); np.zeros(1); print(pkg.Table().each()); open('f')\n    Table()\n",
        },
        """pkg/core.py::find -> pkg/core.py::helper
        pkg/core.py::Table.rows -> pkg/core.py::Table.each
        pkg/core.py::Table.each -> pkg/core.py::Base.close
        pkg/sub/deep.py::one -> pkg/core.py::find
        pkg/sub/deep.py::one -> pkg/core.py::helper
        main.py::run -> pkg/core.py::Table.rows
        main.py::run -> pkg/core.py::find
        main.py::run -> pkg/core.py::Table
        main.py::run -> pkg/core.py::Table.each""",
        """pkg/__init__.py -> pkg/core.py
        pkg/__init__.py -> pkg/core.py::Table
        pkg/__init__.py -> pkg/core.py::find
        pkg/core.py -> package:json
        pkg/sub/deep.py -> pkg/core.py
        main.py -> pkg/__init__.py
        main.py -> pkg/core.py::Table
        main.py -> pkg/core.py::find
        main.py -> package:numpy""",
    ),
    "python, a module of the tree with the name of one of the standard library": (
        {"tools/json.py": "def dumps(): pass\n", "tools/a.py": "import json\ndef f(): json.dumps()\n",
         "b.py": "import json\ndef g(): json.dumps()\n"},
        "tools/a.py::f -> tools/json.py::dumps",
        "tools/a.py -> tools/json.py\nb.py -> package:json",
    ),
    "python, overloads, of which the implementation is called": (
        {
            "a.py": "import typing\nfrom typing import overload\n"
            "@overload\ndef f(x: int) -> int: ...\n@typing.overload\ndef f(x: str) -> str: ...\n"
            "@overload\ndef f(x: list) -> list: ...\n@overload\ndef f(x: dict) -> dict: ...\n"
            "def f(x):\n    def inner(): g()\n    return inner()\ndef g(): f(1)\n"
            "class A:\n    @overload\n    def m(self, x: int): ...\n    @overload\n    def m(self, x: str): ...\n"
            "    def m(self, x): return self.n()\n    def n(self): self.m(1)\n",
            "b.py": "from a import A, f\ndef h(a: A):\n    f('x')\n    a.m('x')\n",
        },
        """a.py::f#5 -> a.py::f.inner
        a.py::f.inner -> a.py::g
        a.py::g -> a.py::f#5
        a.py::A.m#3 -> a.py::A.n
        a.py::A.n -> a.py::A.m#3
        b.py::h -> a.py::f#5
        b.py::h -> a.py::A.m#3""",
        "a.py -> package:typing\nb.py -> a.py\nb.py -> a.py::A\nb.py -> a.py::f#5",
    ),
    "python, a protocol with overloads only: the last of them": (
        {"a.py": "from typing import overload\nclass P:\n    @overload\n    def m(self, x: int): ...\n"
         "    @overload\n    def m(self, x: str): ...\n    @overload\n    def m(self, x: bytes): ...\n"
         "    @overload\n    def m(self, x: list): ...\ndef h(p: P): p.m(1)\n"},
        "a.py::h -> a.py::P.m#4",
        "a.py -> package:typing",
    ),
    "python, what only a type checker sees gives way to what is run": (
        {"a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    def f(): ...\n"
         "    class A:\n        def m(self): ...\n    def only(): ...\n"
         "else:\n    def f(): pass\n    class A:\n        def m(self): pass\n"
         "def g(a: A):\n    f(); a.m(); A(); only()\n"},
        """a.py::g -> a.py::f#2
        a.py::g -> a.py::A#2
        a.py::g -> a.py::A.m#2
        a.py::g -> a.py::only""",
        "a.py -> package:typing",
    ),
    "python, definitions one of which is run share the calls; the file's own comes before an import": (
        {"fast.py": "def one(): pass\n",
         "a.py": "import sys\ntry:\n    from fast import one\nexcept ImportError:\n    def one(): pass\n"
         "if sys.version_info > (3, 12):\n    def two(): pass\nelse:\n    def two(): pass\n"
         "class P:\n    @property\n    def x(self): pass\n    @x.setter\n    def x(self, value): pass\n"
         "def g(p: P): one(); two(); p.x()\n"},
        """a.py::g -> a.py::one
        a.py::g -> a.py::two
        a.py::g -> a.py::two#2
        a.py::g -> a.py::P.x
        a.py::g -> a.py::P.x#2""",
        "a.py -> package:sys\na.py -> fast.py\na.py -> fast.py::one",
    ),
    "typescript, with a default, a namespace, an index and a component": (
        {
            "src/table.ts": "export default class Table { rows() { return this.each(); } each() {} }\n"
            "export function find() {}\n",
            "src/ui/index.ts": "export { Button } from './button';\n",
            "src/ui/button.tsx": "export function Button() { return <b/>; }\n",
            "src/app.tsx": "import T, { find } from './table'; import * as t from './table.js'; import { Button } from './ui';\n"
            "import React from 'react'; import { x } from '@scope/part/deep';\n"
            "export const App = (table: T) => { find(); t.find(); table.rows(); new T(); return <Button/>; };\n",
            "src/old.js": "const { find } = require('./table'); const t = require('./table');\n"
            "function go() { find(); t.find(); }\n",
        },
        """src/table.ts::Table.rows -> src/table.ts::Table.each
        src/app.tsx::App -> src/table.ts::find
        src/app.tsx::App -> src/table.ts::Table
        src/app.tsx::App -> src/table.ts::Table.rows
        src/app.tsx::App -> src/ui/button.tsx::Button
        src/old.js::go -> src/table.ts::find""",
        """src/ui/index.ts -> src/ui/button.tsx
        src/ui/index.ts -> src/ui/button.tsx::Button
        src/app.tsx -> src/table.ts
        src/app.tsx -> src/table.ts::Table
        src/app.tsx -> src/table.ts::find
        src/app.tsx -> src/ui/index.ts
        src/app.tsx -> src/ui/button.tsx::Button
        src/app.tsx -> package:react
        src/app.tsx -> package:@scope/part
        src/old.js -> src/table.ts
        src/old.js -> src/table.ts::find""",
    ),
    "go, packages of one module": (
        {
            "main.go": 'package main\nimport (\n "fmt"\n "example.com/me/t/store"\n)\n'
            "func main() { s := store.NewTable(); s.Rows(); fmt.Println(); local() }\n",
            "other.go": "package main\nfunc local() {}\n",
            "store/table.go": "package store\ntype Table struct { log *Log }\nfunc NewTable() *Table { return &Table{} }\n"
            "func (t *Table) Rows() { t.each(); t.log.Write() }\n",
            "store/each.go": "package store\nfunc (t *Table) each() {}\ntype Log struct {}\nfunc (l Log) Write() {}\n",
        },
        """main.go::main -> store/table.go::NewTable
        main.go::main -> store/table.go::Table.Rows
        main.go::main -> other.go::local
        store/table.go::Table.Rows -> store/each.go::Table.each
        store/table.go::Table.Rows -> store/each.go::Log.Write""",
        "main.go -> package:fmt\nmain.go -> store",
    ),
    "rust, modules of one crate": (
        {
            "src/lib.rs": "mod table;\nuse table::Table;\npub fn run(t: &Table) { t.rows(); table::find(); Table::new(); }\n",
            "src/table.rs": "use std::fmt;\npub struct Table {}\nimpl Table { pub fn new() -> Self { Table {} }\n"
            "pub fn rows(&self) { self.each() }\nfn each(&self) {} }\npub fn find() { crate::util::deep::go() }\n",
            "src/util/mod.rs": "pub mod deep;\n",
            "src/util/deep.rs": "use super::super::table::find;\npub fn go() { find() }\n",
        },
        """src/lib.rs::run -> src/table.rs::Table.rows
        src/lib.rs::run -> src/table.rs::find
        src/lib.rs::run -> src/table.rs::Table.new
        src/table.rs::Table.rows -> src/table.rs::Table.each
        src/table.rs::find -> src/util/deep.rs::go
        src/util/deep.rs::go -> src/table.rs::find""",
        """src/lib.rs -> src/table.rs
        src/lib.rs -> src/table.rs::Table
        src/table.rs -> package:std
        src/util/mod.rs -> src/util/deep.rs
        src/util/deep.rs -> src/table.rs
        src/util/deep.rs -> src/table.rs::find""",
    ),
    "java, packages": (
        {
            "a/b/Table.java": "package a.b; public class Table extends Base { public int rows() { return each(); }\n"
            "int each() { close(); return 1; } }\n",
            "a/b/Base.java": "package a.b; class Base { void close() {} }\n",
            "a/Main.java": "package a; import a.b.Table; import java.util.List;\n"
            "class Main { void run(Table t) { t.rows(); new Table(); t.close(); List.of(); } }\n",
        },
        """a/b/Table.java::Table.rows -> a/b/Table.java::Table.each
        a/b/Table.java::Table.each -> a/b/Base.java::Base.close
        a/Main.java::Main.run -> a/b/Table.java::Table.rows
        a/Main.java::Main.run -> a/b/Table.java::Table
        a/Main.java::Main.run -> a/b/Base.java::Base.close""",
        "a/Main.java -> a/b/Table.java\na/Main.java -> a/b/Table.java::Table\na/Main.java -> package:java.util",
    ),
    "c, a header and its source": (
        {
            "table.h": "struct table { int n; };\nint rows(struct table *t);\n",
            "table.c": '#include "table.h"\nstatic int each(int n) { return n; }\nint rows(struct table *t) { return each(t->n); }\n',
            "main.c": '#include <stdio.h>\n#include "table.h"\nint main(void) { struct table t; printf("x"); return rows(&t); }\n',
        },
        "table.c::rows -> table.c::each\nmain.c::main -> table.c::rows",
        "table.c -> table.h\nmain.c -> table.h\nmain.c -> package:stdio.h",
    ),
    "c++, methods outside of their class": (
        {
            "table.hpp": "namespace s {\nclass Table { public: int rows(); int each(); };\n}\n",
            "table.cpp": '#include "table.hpp"\nnamespace s {\nint Table::rows() { return this->each(); }\n'
            "int Table::each() { return 1; }\n}\n",
            "main.cpp": '#include "table.hpp"\nint main() { s::Table t; return t.rows(); }\n',
        },
        "table.cpp::s.Table::rows -> table.cpp::s.Table::each\nmain.cpp::main -> table.cpp::s.Table::rows",
        "table.cpp -> table.hpp\nmain.cpp -> table.hpp",
    ),
    "ruby and shell": (
        {
            "lib/table.rb": "class Table\n  def rows\n    self.each_row\n  end\n  def each_row\n  end\nend\n",
            "main.rb": "require_relative 'lib/table'\nrequire 'json'\ndef go\n  t = Table.new\n  t.rows\nend\n",
            "a.sh": ". ./b.sh\nmain() { helper x; ls; }\n",
            "b.sh": "helper() { echo; }\n",
        },
        """lib/table.rb::Table.rows -> lib/table.rb::Table.each_row
        main.rb::go -> lib/table.rb::Table.rows
        a.sh::main -> b.sh::helper""",
        "main.rb -> lib/table.rb\nmain.rb -> package:json\na.sh -> b.sh",
    ),
}  # fmt: skip


def lines(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if line.strip()}


@pytest.mark.parametrize("name", TREES)
def test_calls_and_imports(name: str, tmp_path: Path) -> None:
    files, calls, imports = TREES[name]
    found = graph_of(tmp_path, files)
    assert arrows(found, CALLS) == lines(calls)
    assert arrows(found, IMPORTS) == lines(imports)


def test_folders_files_classes_and_functions_contain_each_other(tmp_path: Path) -> None:
    files = {
        "a/b.py": "class A:\n    class B:\n        def f(self):\n            def g(): pass\n    def f(self): pass\n",
        "c.md": "# One\nx\n## Two\ny\n", "d.txt": "text\n", "e/empty.py": "",
    }  # fmt: skip
    found = graph_of(tmp_path, files)
    assert arrows(found, CONTAINS) == lines(
        """t -> a
        a -> a/b.py
        a/b.py -> a/b.py::A
        a/b.py::A -> a/b.py::A.B
        a/b.py::A.B -> a/b.py::A.B.f
        a/b.py::A.B.f -> a/b.py::A.B.f.g
        a/b.py::A -> a/b.py::A.f
        t -> c.md
        c.md -> c.md::One
        c.md::One -> c.md::One > Two
        t -> d.txt"""
    )
    assert {(edge.found_by, edge.certainty) for edge in found} == {(FoundBy.GRAMMAR, 1.0)}


def test_what_is_in_an_implementation_is_contained_in_it(tmp_path: Path) -> None:
    files = {"a.py": "@overload\ndef f(x: int): ...\n@overload\ndef f(x: str): ...\ndef f(x):\n    def inner(): pass\n"}
    assert arrows(graph_of(tmp_path, files), CONTAINS) == lines(
        """t -> a.py
        a.py -> a.py::f
        a.py -> a.py::f#2
        a.py -> a.py::f#3
        a.py::f#3 -> a.py::f.inner"""
    )


def test_an_empty_package_file_is_stood_for_by_its_folder(tmp_path: Path) -> None:
    found = graph_of(tmp_path, {"p/__init__.py": "", "p/a.py": "x = 1\n", "b.py": "import p\nfrom p import a\n"})
    assert arrows(found, IMPORTS) == {"b.py -> p", "b.py -> p/a.py"}


def test_how_an_edge_was_found_and_how_sure_it_is(tmp_path: Path) -> None:
    files = {
        "a.py": "def f(x):\n    x.unusual()\n    x.get()\n    x.shared()\n    x.many()\n",
        "b.py": "class A:\n    def unusual(self): pass\n    def get(self): pass\n    def shared(self): pass\n",
        "c.py": "class B:\n    def shared(self): pass\n"
        + "".join(f"class C{i}:\n    def many(self): pass\n" for i in range(9)),
    }
    found = {edge.end: edge for edge in graph_of(tmp_path, files) if edge.kind is CALLS}
    assert found.keys() == {"t/b.py::A.unusual", "t/b.py::A.shared", "t/c.py::B.shared"}
    assert {edge.found_by for edge in found.values()} == {FoundBy.NAME}
    assert found["t/b.py::A.shared"].certainty == found["t/c.py::B.shared"].certainty
    assert 0 < found["t/b.py::A.shared"].certainty < found["t/b.py::A.unusual"].certainty < 0.9


def test_cycles_of_calls_imports_and_classes_end(tmp_path: Path) -> None:
    files = {
        "a.py": "from b import *\nfrom b import g\nclass A(B):\n    x: 'A'\n    def f(self): self.nosuch(); self.x.x.f()\ndef r(): r(); g()\n",
        "b.py": "from a import *\nfrom a import g\nclass B(A):\n    pass\ndef h(): nothing(); g()\n",
    }
    calls = arrows(graph_of(tmp_path, files), CALLS)
    assert "a.py::r -> a.py::r" in calls
    assert "a.py::A.f -> a.py::A.f" in calls
