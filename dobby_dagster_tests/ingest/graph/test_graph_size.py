"""The code graph takes time in proportion to the tree, and its edges join what is there, whatever the tree."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.code_graph import Edge, EdgeKind, FoundBy
from dobby_dagster.ingest.code.references import Import, References
from dobby_dagster.ingest.graph.code_files import CodeFile, CodePart
from dobby_dagster.ingest.graph.edges import edges_of
from dobby_dagster_tests.helpers.steps import steps


def including_each_other(count: int) -> list[CodeFile]:
    imports = tuple(Import(f"./h{i}.h", "*") for i in range(count))
    calls = References(("nosuch", "h0"))
    files = []
    for i in range(count):
        parts = [CodePart(f"r/h{i}.h::h{i}", f"h{i}", "function", calls)]
        files.append(CodeFile(f"r/h{i}.h", "c", parts, References(imports=imports)))
    return files


def reopened_class(count: int) -> list[CodeFile]:
    names = [f"m{i}" for i in range(4)]
    calls = References(tuple(f"self.{name}" for name in names))
    files = []
    for i in range(count):
        parts = [CodePart(f"r/{i}/a.rb::A", "A", "class"), CodePart(f"r/{i}/a.rb::A.go", "A.go", "method", calls)]
        files.append(CodeFile(f"r/{i}/a.rb", "ruby", parts))
        parts = [CodePart(f"r/{i}/b.rb::A.{name}", f"A.{name}", "method") for name in names]
        files.append(CodeFile(f"r/{i}/b.rb", "ruby", parts))
    return files


def star_cycle(count: int) -> list[CodeFile]:
    unknown = References(tuple(f"nosuch{i}" for i in range(100)))
    others = tuple(Import(f"other{i}", f"name{i}", f"name{i}") for i in range(50))
    files = []
    for i in range(count):
        of_file = References(imports=(Import(f"r.f{(i + 1) % count}", "*"), *others))
        files.append(CodeFile(f"r/f{i}.py", "python", [CodePart(f"r/f{i}.py::g", "g", "function", unknown)], of_file))
    return files


@pytest.mark.parametrize(
    ("tree", "count", "larger"), [(including_each_other, 20, 4), (reopened_class, 300, 2), (star_cycle, 40, 2)]
)
def test_resolving_names_takes_time_in_proportion_to_the_input(
    tree: Callable[[int], list[CodeFile]], count: int, larger: float
) -> None:
    """Twice as many files are an input that is ``larger``; each of n files that include each other has n lines."""
    one, two = tree(count), tree(2 * count)
    assert steps(lambda: resolved(two)) < 1.3 * larger * steps(lambda: resolved(one))


def test_the_nearest_star_import_that_imports_a_name_says_what_it_is() -> None:
    def star(name: str, *imports: Import) -> CodeFile:
        return CodeFile(f"r/{name}.py", "python", [CodePart(f"r/{name}.py::{name}_", f"{name}_", "function")],
                        References(imports=imports))  # fmt: skip

    both = [CodePart(f"r/{name}.py::find", "find", "function") for name in ("x", "y")]
    caller = CodePart("r/a.py::a", "a", "function", References(("find",)))
    files = [
        star("far", Import("r.x", "find", "find")),
        star("near", Import("r.far", "*"), Import("r.y", "find", "find")),
        CodeFile("r/a.py", "python", [caller], References(imports=(Import("r.near", "*"),))),
        *(CodeFile(part.key.partition("::")[0], "python", [part]) for part in both),
    ]
    assert [edge.end for edge in edges_of(files, "r", kept(files)) if edge.kind is EdgeKind.CALLS] == ["r/y.py::find"]


def kept(files: list[CodeFile]) -> set[str]:
    return {part.key for file in files for part in file.parts}


def resolved(files: list[CodeFile]) -> None:
    assert list(edges_of(files, "r", kept(files)))


def test_only_records_that_are_kept_and_what_contains_them_have_edges() -> None:
    one = CodeFile("t/a.py", "python", [CodePart("t/a.py::f", "f", "function", References(("g",))),
                                        CodePart("t/a.py::g", "g", "function")])  # fmt: skip
    two = CodeFile("t/s/b.py", "python", [CodePart("t/s/b.py::h", "h", "function")], References(("h",)))
    assert [edge.end for edge in edges_of([one, two], "t", {"t/a.py::f"})] == ["t/a.py", "t/a.py::f"]
    everything = list(edges_of([one, two], "t", {"t/a.py::f", "t/a.py::g", "t/s/b.py::h"}))
    assert Edge("t/a.py::f", EdgeKind.CALLS, "t/a.py::g", FoundBy.GRAMMAR, 0.98) in everything
    assert [edge.end for edge in edges_of([two], "t/s/b.py", {"t/s/b.py::h"})] == ["t/s/b.py::h", "t/s/b.py::h"]


NAMES = st.sampled_from(
    ["f", "g", "A", "A.f", "A.g", "A.B", "A.B.f", "self.f", "A().f", "A().x.f", ".f", "super.f", "a.f", "x", ""]
)

FILES = st.sampled_from(
    ["t/a.py", "t/p/__init__.py", "t/p/b.py", "t/c.go", "t/d.rs", "t/e.ts", "t/F.java", "t/g.c", "t"]
)

LANGUAGE = {"py": "python", "go": "go", "rs": "rust", "ts": "typescript", "java": "java", "c": "c", "t": ""}

REFERENCES = st.builds(
    References,
    st.lists(NAMES, max_size=4).map(tuple),
    st.lists(NAMES, max_size=2).map(tuple),
    st.lists(st.tuples(NAMES, NAMES), max_size=2).map(tuple),
    st.lists(
        st.builds(
            Import,
            st.sampled_from([".", "..", "a", "p.b", ".p", "./e", "crate::d", "super", "t"]),
            NAMES | st.just("*"),
            NAMES,
        ),
        max_size=3,
    ).map(tuple),
)


@st.composite
def code_files(draw: st.DrawFn) -> CodeFile:
    place = draw(FILES)
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    kinds = st.sampled_from(["function", "method", "class", "file", "section"])
    parts = [CodePart(f"{place}::{name}" if name else place, name, draw(kinds), draw(REFERENCES)) for name in names]
    return CodeFile(place, LANGUAGE[place.rsplit(".", 1)[-1]], parts, draw(REFERENCES))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(code_files(), max_size=5, unique_by=lambda file: file.place), st.data())
def test_edges_point_at_existing_nodes_only(files: list[CodeFile], data: st.DataObject) -> None:
    keys = [part.key for file in files for part in file.parts]
    kept = {key for key in keys if data.draw(st.booleans())}
    places = {key.partition("::")[0] for key in kept}
    nodes = {*kept, *places, *(place.rsplit("/", n)[0] for place in places for n in range(place.count("/") + 1))}
    for edge in edges_of(files, "t", kept):
        assert edge.start in nodes
        assert 0 < edge.certainty <= 1
        assert edge.end in nodes or edge.kind is EdgeKind.IMPORTS
