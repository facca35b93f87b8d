"""What goes into a database through a parameter is the same value, embedded and over HTTP; or it is refused by name."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.errors import StoreError
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozoscript.parameters import DEEPEST, carried
from dobby_dagster.store.cozoscript.value_text import tag_of, text_of
from dobby_dagster.store.database.connect import connect
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.database.embedded_connection import EmbeddedConnection
from dobby_dagster_tests.helpers.cozo_server import CozoServer, running_server

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
INT = st.integers(-(2**63), 2**63 - 1)
# Fractions of 16 and 17 digits are those that JSON changes on its way into Cozo.
FLOAT = st.floats() | st.sampled_from([1764183208.1234567, 0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308, 2.0**53])
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | INT | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)
SCALAR = st.none() | st.booleans() | INT | FLOAT | TEXT | st.binary(max_size=6)
VALUE = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=4), max_leaves=8) | st.dictionaries(TEXT, JSON)
ROWS = st.lists(VALUE, min_size=1, max_size=6)
PUT = "?[k, v] := r in $rows, k = get(r, 0), v = get(r, 1) :put p {k => v}"
EXACT = f"?[k, tag, text] := *p{{k, v}}, tag = {tag_of('v')}, text = {text_of('v')}"


@pytest.fixture(scope="module")
def server() -> Iterator[CozoServer]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def connections(server: CozoServer) -> tuple[Connection, Connection]:
    """An embedded one and one over HTTP, to databases of their own with the relation ``p``."""
    made = connect(DatabaseSettings(url="mem://parameters")), connect(DatabaseSettings(url=server.url))
    for connection in made:
        connection.run(":create p {k: Int => v: Any?}", write=True)
    return made


def same(one: Any, other: Any) -> bool:
    """Equal in value and type; NaN is NaN, and zero has a sign."""
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(values=ROWS)
def test_a_value_is_stored_as_it_is(
    connections: tuple[Connection, Connection], server: CozoServer, values: list[Any]
) -> None:
    rows = [[number, value] for number, value in enumerate(values)]
    exact = []
    for connection in connections:
        connection.run("?[k] := *p{k} :rm p {k}", write=True)
        connection.run(PUT, {"rows": rows}, write=True)
        exact.append(sorted(connection.run(EXACT).rows))
    assert exact[0] == exact[1]
    embedded = connections[0].run("?[k, v] := *p{k, v}").rows
    served = server.database.run("?[k, v] := *p{k, v}")["rows"]
    assert [k for k, _ in served] == list(range(len(values)))
    for (_, there), (_, here) in zip(served, embedded, strict=True):
        assert same(there, here), (there, here)
    for value, (_, there) in zip(values, served, strict=True):
        if not isinstance(value, dict):  # Cozo's own JSON keeps no float that is a whole number
            assert same(value, there), (value, there)


@given(value=SCALAR)
def test_a_value_that_a_query_asks_for_is_found(connections: tuple[Connection, Connection], value: Any) -> None:
    for connection in connections:
        connection.run("?[k] := *p{k} :rm p {k}", write=True)
        connection.run(PUT, {"rows": [[1, value]]}, write=True)
        found = connection.run("?[k] := *p{k, v}, v == $value", {"value": value}).rows
        assert found == [[1]], connection.url  # NaN too: Cozo orders all floats


REFUSED: dict[str, Any] = {
    "is past 64 bits": 2**63,
    "has a lone surrogate": "half \ud83d",
    "is no JSON number": {"a": [math.nan]},
    "is bytes, which JSON has not": {"a": b"x"},
    "is a key, and no text": {1: "x"},
    "is of type set": {1, 2},
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_would_be_changed_is_refused_by_name(connections: tuple[Connection, Connection], why: str) -> None:
    for connection in connections:
        with pytest.raises(StoreError, match=f" in 'rows' can't be stored: it {why}") as caught:
            connection.run(PUT, {"rows": [[1, [REFUSED[why]]]]}, write=True)
        assert type(caught.value) is StoreError, "a chunk with it is then committed record by record"


def test_an_integer_past_64_bits_may_be_asked_for(connections: tuple[Connection, Connection]) -> None:
    for connection in connections:
        assert connection.run("?[k] := *p{k, v}, v == $value, is_int(v)", {"value": 10**30}).rows == []


def test_what_the_server_can_not_read_is_not_sent(connections: tuple[Connection, Connection]) -> None:
    deep: Any = "x"
    for _ in range(DEEPEST - 2):
        deep = [deep]
    for connection in connections:
        connection.run(PUT, {"rows": [[1, deep]]}, write=True)
    with pytest.raises(StoreError, match="nested more than 100 levels"):
        connections[1].run(PUT, {"rows": [[1, [deep]]]}, write=True)
    assert isinstance(connections[0], EmbeddedConnection)
    connections[0].run(PUT, {"rows": [[1, [deep]]]}, write=True)


def test_ordinary_rows_are_sent_as_they_are() -> None:
    rows = [[f"k{i}", i, i / 4, None, True, {"a": 0.1}] for i in range(100)]
    assert carried("?[x] <- $rows", {"rows": rows}) == ("?[x] <- $rows", {"rows": rows})
