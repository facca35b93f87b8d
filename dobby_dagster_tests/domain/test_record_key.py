"""Keys are taken apart at the end of their place, whatever is in a path or a name."""

from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.agent_server.outline_tree import chain, places
from dobby_dagster.domain.record_key import split_among, split_key
from dobby_dagster.site.entry import location

PATH, NAME = "old::src/a.cpp", "store::Table::find"
TEXT = st.text(alphabet=":/a.#", max_size=8)


@given(TEXT.filter(bool), TEXT)
def test_a_stored_path_ends_the_place(path: str, name: str) -> None:
    assert split_key(f"{path}::{name}", path) == (path, name)
    assert split_key(path, path) == (path, "")


@given(TEXT, TEXT)
def test_the_parts_of_a_key_give_the_key(place: str, name: str) -> None:
    key = f"{place}::{name}"
    first, rest = split_among(key, {key})
    assert key in (first, f"{first}::{rest}")
    assert "::" not in split_among(key, ())[0]


def test_a_heading_that_is_a_path_is_no_folder() -> None:
    keys = ["README.md::Intro", "README.md::src/util.py"]
    assert [split_among(key, set(keys)) for key in keys] == [("README.md", "Intro"), ("README.md", "src/util.py")]
    assert [(place.key, place.kind) for place in places(keys, "", 1)] == [("README.md", "file")]
    assert split_among("v1.2::src/a.py", {"v1.2::src/a.py"}) == ("v1.2::src/a.py", "")


@given(TEXT, st.one_of(st.none(), st.integers(), TEXT))
def test_a_path_that_is_none_of_the_key_makes_no_difference(key: str, path: object) -> None:
    place, name = split_key(key, path)
    assert key in (place, f"{place}::{name}", f"{place}{name}")


def test_files_that_have_records_end_the_place() -> None:
    keys = {PATH, f"{PATH}::{NAME}", f"{PATH}::main", "src/b.cpp", f"src/b.cpp::{NAME}"}
    assert split_among(f"{PATH}::{NAME}", keys) == (PATH, NAME)
    assert split_among(f"src/b.cpp::{NAME}", keys) == ("src/b.cpp", NAME)
    assert chain(f"{PATH}::{NAME}", frozenset(keys)) == ["old::src", PATH, f"{PATH}::{NAME}"]
    assert [(place.key, place.kind, place.records) for place in places(keys, "", 2)] == [
        ("old::src", "folder", 3), (PATH, "record", 3), ("src", "folder", 2), ("src/b.cpp", "record", 2),
    ]  # fmt: skip


def test_a_record_is_listed_as_a_record_wherever_it_is() -> None:
    keys = ["a/b/c", "a/b/d", "a/e", "x.py::f", 'json:["a/b::c", 1]']
    assert [(place.key, place.kind, place.depth) for place in places(keys, "", 3)] == [
        ("a", "folder", 1), ("a/b", "folder", 2), ("a/b/c", "record", 3), ("a/b/d", "record", 3), ("a/e", "record", 2),
        ('json:["a/b::c", 1]', "record", 1), ("x.py", "file", 1), ("x.py::f", "record", 2),
    ]  # fmt: skip


def test_a_page_of_the_site_is_that_of_the_stored_path() -> None:
    assert location(f"{PATH}::{NAME}", {"path": PATH}, "function") == (("old::src", "a.cpp"), NAME, False)
    assert location(PATH, {"path": PATH}, "text") == (("old::src", "a.cpp"), "", True)
