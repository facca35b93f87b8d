from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from dobby_dagster.site.page_names import anchor, page_path
from dobby_dagster.site.page_views import Target

# Names that collide or mislead: by case, by their ending, by what a page's number looks like, by what Windows reserves.
TRICKY = st.sampled_from([
    "", ".", "..", "a", "A", "a.html", "a~2", "a~2.html", "index", "index.html", "con", "CON", "con.txt", "nul", "com1",
    "lpt9.py", "a ", "a.", "a\\b", "c:", "\u202e", "é", "e\u0301", "-", "_", "~", "x" * 61, "X" * 300, "javascript:", "\0",
    "\udce9", "<script>", "%2e%2e", "README.md", "readme.md",
])  # fmt: skip
SEGMENTS = st.lists(TRICKY | st.text(max_size=12).map(lambda text: text.replace("/", "")), max_size=6)


@given(SEGMENTS, SEGMENTS, st.integers(1, 3), st.integers(1, 3))
@example(["a"], ["a~2"], 2, 1)
@example(["readme-md~b335630551682c19a781"], ["README.md"], 1, 1)
@example(["a" * 59] * 3, ["a" * 59] * 4, 1, 1)
def test_different_places_have_different_files_on_any_disk(
    one: list[str], other: list[str], page: int, other_page: int
) -> None:
    found, second = page_path(one, page).casefold(), page_path(other, other_page).casefold()
    assert (found == second) is ((one, page) == (other, other_page))
    assert not second.startswith(f"{found}/"), "no page is in the way of a folder"


@given(SEGMENTS, st.integers(1, 3))
def test_a_file_stays_in_the_site_and_can_be_on_every_disk(segments: list[str], page: int) -> None:
    path = page_path(segments, page)
    assert len(path) < 200
    for name in path.split("/"):
        assert re.fullmatch(r"[a-z0-9_~-][a-z0-9_.~-]*", name)
        assert not name.endswith(".")
        assert not re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name)
        assert len(name) <= 100


@given(st.text(max_size=20), st.text(max_size=20))
def test_anchors_of_a_page_differ_and_need_no_escape(one: str, other: str) -> None:
    found, second = anchor(["p"], f"p{one}"), anchor(["p"], f"p{other}")
    assert (found == second) is (one == other)
    assert re.fullmatch(r"[A-Za-z0-9_.:/~-]+", found)


def test_addresses_are_relative_and_have_no_scheme() -> None:
    page = Target("pages/javascript/alert.html", "::f")
    assert page.seen_from("index.html") == "pages/javascript/alert.html#::f"
    assert page.seen_from("pages/javascript/other.html") == "alert.html#::f"
    assert page.seen_from("pages/a/b/c.html") == "../../javascript/alert.html#::f"
    assert page.seen_from("pages/javascript/alert.html") == "#::f"
    assert Target("pages/a.html").seen_from("pages/a.html") == "a.html"
