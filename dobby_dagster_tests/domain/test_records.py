"""Records, their hashes, and keys as text."""

import json

from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.records import Record, batch_id, content_bytes, content_hash, kind_of, readable_text
from dobby_dagster.store.source.row_keys import decode_key, encode_key

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXT,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(TEXT, x, max_size=3),
    max_leaves=8,
)


@given(TEXT, TEXT)
def test_equal_texts_have_equal_hashes_and_others_do_not(a: str, b: str) -> None:
    assert (content_hash(a) == content_hash(b)) == (a == b)


@given(TEXT)
def test_a_text_its_bytes_and_its_json_are_three_contents(text: str) -> None:
    assert len({content_hash(text), content_hash(text.encode()), content_hash([text])}) == 3


@given(st.dictionaries(TEXT, st.integers(-100, 100)))
def test_the_order_of_a_structures_keys_does_not_matter(value: dict) -> None:
    assert content_hash(value) == content_hash(dict(reversed(list(value.items()))))


@given(TEXT)
def test_utf8_bytes_read_as_their_text(text: str) -> None:
    assert readable_text(text.encode()) == (None if "\0" in text else text)


def test_kinds() -> None:
    contents = [None, "", " \n", b"", "x", b"\xff", {"a": 1}, [1], 0]
    kinds = ["empty", "empty", "empty", "empty", "text", "binary", "structured", "structured", "structured"]
    assert [kind_of(content) for content in contents] == kinds


def test_size_is_in_bytes() -> None:
    assert Record("k", "é", "s").size == 2
    assert Record("k", None, "s").size == 0
    assert content_bytes({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()


@given(JSON)
def test_keys_of_any_type_survive(key: object) -> None:
    assert decode_key(encode_key(key, "Any?"), "Any?") == key


@given(st.lists(JSON, max_size=8, unique_by=lambda v: json.dumps(v, sort_keys=True)))
def test_different_keys_have_different_texts(keys: list) -> None:
    assert len({encode_key(key, "Any?") for key in keys}) == len(keys)


def test_batch_identifiers_sort_as_they_are_made() -> None:
    names = [batch_id(n) for n in (1, 9, 10, 99, 1000, 99_999)]
    assert names == sorted(names)
    assert names[0] == "batch-000001"
