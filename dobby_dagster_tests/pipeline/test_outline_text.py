"""An outline as text: bounded, in the order of the source, and the same for the same parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.pipeline.outlines.outline_text import CUT, LONGEST_SUMMARY, Part, outline
from dobby_dagster.pipeline.outlines.signature import LONGEST, signature

DECLARATIONS = [
    ("async def f(a, *, b=':'):\n    return a", "f", "async def f(a, *, b=':')"),
    ("@cache\ndef f(\n    a: int,\n    b: dict[str, int],\n) -> int:\n    return a", "f", "def f(a: int, b: dict[str, int]) -> int"),
    ("class A(B, metaclass=C):\n    def f(self):\n        ...", "A", "class A(B, metaclass=C)"),
    ("/** Doc of m. */\n@Override\npublic int m(int x) { return x; }", "A.m", "public int m(int x)"),
    ("// Read reads.\nfunc (r *Reader[T]) Read(p []byte) (int, error) {\n\treturn 0, nil\n}", "Reader.Read",
     "func (r *Reader[T]) Read(p []byte) (int, error)"),
    ("const g = (x) => x + 1;", "g", "const g = (x) => x + 1"),
    ("private m(x: T): T { return x }", "B.m", "private m(x: T): T"),
    ("int n::C<int>::z() { return 2; }", "n::C<int>::z", "int n::C<int>::z()"),
    ("#define MAX(a, b) ((a) > (b))", "MAX", "#define MAX(a, b) ((a) > (b))"),
    ("there is no such name", "f", "f"),
    ("", "A.f#2", "f"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "name", "expected"), DECLARATIONS)
def test_the_declaration_is_found_in_its_source(content: str, name: str, expected: str) -> None:
    assert signature(content, name) == expected


@given(st.text(max_size=300), st.text(max_size=20))
def test_a_declaration_is_one_short_line_of_any_text(content: str, name: str) -> None:
    found = signature(content, name)
    assert len(found) <= max(LONGEST, len(name))


def test_functions_in_functions_are_left_out_and_methods_stand_in_their_class() -> None:
    parts = [
        Part("f", "function", "def f(): ..."), Part("f.g", "function", "def g(): ..."),
        Part("A", "class", "class A: ...", "An A."), Part("A.B", "class", "class B: ..."),
        Part("A.B.m", "method", "def m(self): ..."), Part("A.B.m.k", "function", "def k(): ..."),
    ]  # fmt: skip
    text = outline("", parts, 500)
    assert text.splitlines() == [
        "def f()", "class A: An A.", "    class B", "        def m(self)",
    ]  # fmt: skip


def test_of_too_many_parts_the_most_telling_stay() -> None:
    classes = [Part(f"C{i}", "class", f"class C{i}: ...") for i in range(3)]
    methods = [Part(f"C{i}.m{i}", "method", f"def m{i}(self): ...") for i in range(3)]
    private = [Part(f"_p{i}", "function", f"def _p{i}(): ...") for i in range(1_000)]
    public = [Part(f"f{i}", "function", f"def f{i}(): ...", "Does a thing.") for i in range(3_000)]
    text = outline("Documentation.", [*private, *classes, *methods, *public], 600)
    assert len(text) <= 600 + len('"""Documentation."""') + len(CUT) + 2
    assert "_p" not in text
    assert text.splitlines()[1:5] == ["class C0", "class C1", "class C2", "def f0(): Does a thing."]
    assert text.endswith(f"\n{CUT}")


NAMES = st.sampled_from(["a", "_b", "C", "C.m", "C._n", "a.k", "", "x > y", "deep/", "é", "z" * 300])
PARTS = st.builds(
    Part, NAMES, st.sampled_from(["function", "method", "class", "section", "file", "package"]), st.text(max_size=80),
    st.none() | st.text(max_size=400),
)  # fmt: skip


@given(st.lists(PARTS, max_size=30), st.integers(0, 2_000), st.text(max_size=50))
def test_it_is_bounded_and_deterministic(parts: list[Part], room: int, documentation: str) -> None:
    text = outline(documentation, parts, room)
    assert len(text) <= room + len(documentation) + 20
    assert text == outline(documentation, list(parts), room)
    shown = outline(documentation, parts, 10**6)
    assert set(text.splitlines()) - {CUT} <= set(shown.splitlines())


def test_a_package_is_named() -> None:
    text = outline("Adds.", [Part("a.py", "file", summary="Sums."), Part("deep/", "package")], 100, "src")
    assert text.splitlines() == ["# Package src", '"""Adds."""', "a.py  # Sums.", "deep/"]


def test_a_long_summary_is_cut_at_a_word() -> None:
    text = outline("", [Part("a.py", "file", summary="word " * 100)], 1_000)
    assert text.endswith("word…")
    assert len(text) < LONGEST_SUMMARY + 30
