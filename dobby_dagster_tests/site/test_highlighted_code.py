from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from dobby_dagster.domain.printable import printable
from dobby_dagster.site.highlighted_code import highlighted
from dobby_dagster.site.languages import LANGUAGES

PIECES = st.sampled_from(
    [
        '"',
        "'",
        "\\",
        "/*",
        "*/",
        "//",
        "#",
        "`",
        '"""',
        "'''",
        "--",
        "@a",
        "$x",
        "1.5",
        "def",
        "f",
        "\n",
        " ",
        "<",
        "&",
        "\u202e",
    ]
)


@given(st.lists(PIECES).map("".join) | st.text(), st.sampled_from([*LANGUAGES, "cobol", ""]))
def test_the_text_stays_and_is_escaped(code: str, language: str) -> None:
    found = highlighted(code, language)
    assert re.sub("<[^>]*>", "", re.sub('</?span( class="[csndkf]")?>', "", found)) == re.sub(
        '</?span( class="[csndkf]")?>', "", found
    )
    assert Markup(re.sub('</?span( class="[csndkf]")?>', "", found)).unescape() == printable(code, lines=True)


@pytest.mark.parametrize(
    ("language", "code", "marked"),
    [
        ("python", '"""doc"""\n@dec\ndef name(a=1): return None', ['s"""doc"""', "d@dec", "kdef", "fname", "n1", "kreturn", "nNone"]),
        ("rust", "#[test]\nfn f<'a>(x: &'a str) -> char { 'x' }", ["d#[test]", "kfn", "ff", "s'x'"]),
        ("c", "#include <a.h>\nint x = 0x1F; // end", ["d#include", "kint", "n0x1F", "c// end"]),
        ("go", "func F() string { return `a\nb` }", ["kfunc", "fF", "kreturn", "s`a\nb`"]),
        ("javascript", "class A { get() { return /* c */ 'x' } }", ["kclass", "fA", "kget", "kreturn", "c/* c */", "s'x'"]),
        ("sql", "SELECT 1 -- one", ["kSELECT", "n1", "c-- one"]),
        ("shell", "x=${#a} # note", ["c# note"]),
        ("markdown", "# Title\ntext `code`", ["d# Title", "s`code`"]),
        ("cobol", "def f", []),
    ],
)  # fmt: skip
def test_tokens(language: str, code: str, marked: list[str]) -> None:
    found = re.findall('<span class="(.)">([^<]*)</span>', highlighted(code, language))
    assert [f"{kind}{Markup(text).unescape()}" for kind, text in found] == marked


HOSTILE = [
    "\n ",
    " \n",
    '"',
    '"""',
    "'",
    "\\",
    "/*",
    "/",
    "*",
    "#",
    "# ",
    "`",
    "a.",
    "1.",
    "@",
    "$",
    "é",
    "\t#",
    "''",
    "[",
    "#[",
]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_content_takes_more_than_linear_time(language: str) -> None:
    """Otherwise this test would not end within its limit."""
    for piece in HOSTILE:
        assert highlighted(piece * (100_000 // len(piece)), language)
