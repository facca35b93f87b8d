"""The words of documents and queries: whatever is asked for in any spelling is in its own document."""

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.search_words import (
    DOCUMENT_WORDS,
    IDENTIFIERS,
    LONGEST_WORD,
    QUERY_WORDS,
    document_words,
    identifiers,
    query_words,
    words,
)

NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{1,30}", fullmatch=True) | st.text(min_size=1).filter(str.isidentifier)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("getUserName", ["getusername", "get", "user", "name"]),
        ("get_user_name", ["getusername", "get", "user", "name"]),
        ("__init__", ["init"]),
        ("XMLHttpRequest", ["xmlhttprequest", "xml", "http", "request"]),
        ("IOError", ["ioerror", "io", "error"]),
        ("sha256 404", ["sha256", "sha", "404"]),
        ("border-color", ["border", "color"]),
        ("self.all", ["self", "all"]),
        ("ＦＵＬＬ e\u0301t\u00e9 İstanbul", ["full", "été", "istanbul"]),
        ("the of, and: !?", []),
        ("\ud83d \x00 \u202e", []),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert list(words(text)) == expected


@given(name=NAMES, others=st.lists(NAMES, max_size=60))
def test_each_identifier_of_a_content_finds_its_document(name: str, others: list[str]) -> None:
    content = " + ".join([name, *others])
    document = document_words("", "", content).split(" ")
    for identifier in identifiers(content):
        if asked := query_words(identifier):
            assert set(asked) <= set(document)


@given(key=st.text(max_size=40), summary=st.text(max_size=80), content=st.text(max_size=80) | st.binary(max_size=40))
def test_words_are_what_the_index_takes_for_a_word(key: str, summary: str, content: str | bytes) -> None:
    found = document_words(key, summary, content).split()
    assert len(found) <= DOCUMENT_WORDS
    assert all(word.isalnum() and len(word) <= LONGEST_WORD for word in found)
    assert {*query_words(key), *query_words(summary)} <= set(found)


@given(st.text())
def test_a_query_has_a_limit_and_no_word_twice(text: str) -> None:
    found = query_words(text)
    assert len(found) == len(set(found)) <= QUERY_WORDS


def test_only_the_first_distinct_identifiers_count_and_no_keywords() -> None:
    assert identifiers("def f1(self): return f1 if f2 else None") == ["f1", "f2"]
    assert len(identifiers(" ".join(f"name_{number}" for number in range(1_000)))) == IDENTIFIERS
    assert identifiers(b"\x00\xff") == []
    assert identifiers(None) == []
    assert [name for name in keyword.kwlist if identifiers(name)] == []


def test_a_structured_content_has_words() -> None:
    assert identifiers({"user_name": ["alice"]}) == ["user_name", "alice"]
