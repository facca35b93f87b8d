"""Untrusted text in Markdown, read back by a Markdown parser."""

import re

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dobby_dagster.domain.markdown import code, prose, table
from dobby_dagster.domain.printable import printable
from dobby_dagster.pipeline.reporting.export_formats import csv_field

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# What GitHub's and Dagster's renderer (remark-gfm) makes a link of, in any text.
LINKED = re.compile(r"(https?://|www(?=\.))[-.\w]+|[-.\w+]+@[-\w]+(?:\.[-\w]+)+", re.IGNORECASE)
PIECES = [
    *"\\`*_[]()<>!|~&#$=-+.1 \n\t\x1b\u202e", "![p](http://x.test/b.png)", "<img src=x>", "&lt;", "www.x.test", "a@x.test",
    "[a]: http://x.test", "https://x.test", "javascript:alert(1)", "\n\n", "---", "a",
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES) | st.characters(), max_size=12).map("".join)
PLAIN = {"text", "text_special", "code_inline"}


def inline(markdown: str) -> tuple[list[str], str, str]:
    """What blocks ``markdown`` is, its whole text, and what of it is outside of code; only plain text and code."""
    tokens = PARSER.parse(markdown)
    children = [child for token in tokens for child in token.children or []]
    assert {child.type for child in children} <= PLAIN, markdown
    whole = "".join(child.content for child in children)
    return [t.type for t in tokens], whole, "".join(c.content if c.type != "code_inline" else "\n" for c in children)


@given(HOSTILE)
@example("![a](http://x.test/b.png)")
@example("1. x")
@example("\\|")
def test_prose_is_a_paragraph_of_that_text_and_nothing_else(text: str) -> None:
    blocks, whole, outside = inline("x\n\n" + prose(text))
    expected = printable(" ".join(text.split()))
    assert blocks == ["paragraph_open", "inline", "paragraph_close"] * (2 if expected else 1)
    assert whole == "x" + expected
    assert not LINKED.search(outside)


@given(HOSTILE.filter(str.strip))
def test_code_is_that_text(text: str) -> None:
    _, whole, outside = inline("x " + code(text))
    assert whole.removeprefix("x ").strip(" ") == printable(text).strip(" ")
    assert not outside.strip("x \n")


@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1, max_size=3))
def test_a_table_has_its_cells_and_they_are_text(rows: list[tuple[str, str]]) -> None:
    blocks, _, outside = inline(table({"key": code, "summary": prose}, rows, 1_000))
    assert blocks.count("td_open") == 2 * len(rows)
    assert not LINKED.search(outside)


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert table({"a": prose}, [["*" * 9]], 3).splitlines()[-1] == r"| \*\*… |"


@given(
    HOSTILE
    | st.sampled_from(["=1+1", " @SUM(A1)", "\t-1", "+1", "\uff1d1", "\r=1"]).flatmap(lambda f: HOSTILE.map(f.__add__))
)
def test_a_text_in_csv_is_no_formula_and_can_be_seen(text: str) -> None:
    field = csv_field(text)
    assert not field.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))
    assert field in (printable(text, lines=True), "'" + printable(text, lines=True))
