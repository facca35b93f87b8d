"""Every key and content type that Cozo has: each row is settled under its own key, or its relation is refused by name."""

import base64
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycozo.client import Client

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.scope import RunId, Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.states import State
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.summarization.summarizer import Summarizer
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source
from dobby_dagster_tests.helpers.cozo_server import running_server
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import PROMPT, RECIPE

EXAMPLES = 3
# Key types that may be refused by name. Different values can have the same JSON: NaN and infinity in a list, a vector and
# a list. And Cozo reads some fractions in a JSON key as the next number, under which the key can't be found.
REFUSED = ("[Float]", "Json", "Json?", "Any", "Any?")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INT = st.integers(-(2**63), 2**63 - 1)
FLOAT = st.floats() | st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 0.1])
SMALL = st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2)


class Value(NamedTuple):
    """A value of Cozo's: an expression, and the parameter ``$v`` in it, which survives JSON."""

    expression: str
    parameter: Any


def values(expression: str, parameters: st.SearchStrategy[Any]) -> st.SearchStrategy[Value]:
    return parameters.map(lambda parameter: Value(expression, parameter))


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


NULL = values("$v", st.none())
JSON = st.recursive(
    st.none() | st.booleans() | INT | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
STRINGS = values("$v", TEXT | st.sampled_from(["json:x", "json:", "null", "5", "[1]", '"x"', "YWI=", "\0", "💡"]))
INTS = values("$v", INT)
BOOLS = values("$v", st.booleans())
FLOATS = values("to_float($v)", FLOAT.map(repr))
UUIDS = values("to_uuid($v)", st.uuids().map(str))
BYTES = values("decode_base64($v)", st.binary(max_size=6).map(encoded))
JSONS = values("json($v)", JSON)
HUGE = values("parse_json($v)", st.sampled_from(["18446744073709551615", '{"a": [18446744073709551615]}']))
VECTORS = values("vec($v)", SMALL)
DOUBLES = values("vec($v, 'F64')", SMALL)
LISTS = values("$v", st.lists(INT | TEXT | st.none(), max_size=3))
NESTED = values("[1, decode_base64($v), [to_uuid('00000000-d055-469b-9807-ca7c971770bb')]]", st.just("YWI="))
NOT_NUMBERS = values("[0.0 / 0.0, 1.0 / 0.0]", st.none())
VALIDITIES = values("validity($v, true)", st.integers(0, 2**40))
ANY = st.one_of(
    NULL, STRINGS, INTS, BOOLS, FLOATS, UUIDS, BYTES, JSONS, HUGE, VECTORS, DOUBLES, LISTS, NESTED, NOT_NUMBERS
)
TYPES: dict[str, st.SearchStrategy[Value]] = {
    "String": STRINGS,
    "String?": STRINGS | NULL,
    "Int": INTS,
    "Int?": INTS | NULL,
    "Bool": BOOLS,
    "Float": FLOATS,
    "Float?": FLOATS | NULL,
    "Uuid": UUIDS,
    "Uuid?": UUIDS | NULL,
    "Bytes": BYTES,
    "Bytes?": BYTES | NULL,
    "Json": JSONS | HUGE,
    "Json?": JSONS | NULL,
    "<F32; 2>": VECTORS,
    "<F64; 2>": DOUBLES,
    "<F32; 2>?": VECTORS | NULL,
    "[Int]": values("$v", st.lists(INT, max_size=3)),
    "[Float]": values("[to_float($v), 1.0]", FLOAT.map(repr)),
    "[String?; 2]": values("$v", st.lists(TEXT | st.none(), min_size=2, max_size=2)),
    "[Uuid]": values("[to_uuid($v)]", st.uuids().map(str)),
    "[Bytes]": values("[decode_base64($v)]", st.binary(max_size=6).map(encoded)),
    "(Int, [Bytes])": values("[5, [decode_base64($v)]]", st.binary(max_size=6).map(encoded)),
    "Any": ANY.filter(lambda value: value.parameter is not None),
    "Any?": ANY,
}
CONTENTS = TYPES | {"Validity": VALIDITIES}


def create(store: CozoStore, keys: str, contents: str, rows: list[tuple[Value, Value]]) -> Source:
    store.connection.run(f":create r {{k: {keys} => c: {contents}}}", write=True)
    for key, content in rows:
        put(store, key, content)
    return Source(store.connection, SourceSettings(relation="r", key="k", content="c"))


def put(store: CozoStore, key: Value, content: Value) -> None:
    script = f"?[k, c] := k = {key.expression.replace('$v', '$k')}, c = {content.expression} :put r {{k => c}}"
    store.connection.run(script, {"k": key.parameter, "v": content.parameter}, write=True)


def summarize(store: CozoStore, source: Source) -> None:
    """Plan, and bring every batch to its end, as the assets do."""
    plan(store, source, 7)

    with Summarizer(store, source, FakeEngine(), PROMPT, RECIPE, 5) as summarizer:
        for batch in store.states.unfinished("r", RECIPE.id, 1):
            scope = Scope(RECIPE.id, batch, RunId("run"))
            for chunk in summarizer.summarize(store.states.members(scope), scope):
                store.chunks.commit(source, chunk, scope)


def settled(store: CozoStore, source: Source) -> None:
    """Each row of the relation has a key, and stands there in a state that is no excuse."""
    found = store.reports.overview(source, RECIPE.id)
    assert found["rows"] == source.count() == found["records"], found
    assert found["unplanned"] == found["pending"] == found["in_progress"] == 0, found
    entries = list(store.reports.rows(source, RECIPE.id))
    assert len({entry["key"] for entry in entries}) == source.count()
    for entry in entries:
        assert entry["state"] in (State.COMPLETED, State.FAILED, State.SKIPPED)
        assert entry["reason"] not in ("superseded", "deleted"), entry
        assert (entry["summary"] is not None) == (entry["state"] == State.COMPLETED)


@pytest.fixture(scope="module")
def stores() -> Iterator[dict[str, Callable[[], Any]]]:
    """By engine, what gives an empty store each time that it is called; and the database of the server."""
    names = itertools.count()
    with running_server() as server:

        def served() -> CozoStore:
            server.database = Client("mem", "", dataframe=False)
            return CozoStore.open(DatabaseSettings(url=server.url))

        yield {
            "mem": lambda: CozoStore.open(DatabaseSettings(url=f"mem://types-{next(names)}")), "http": served,
            "server": lambda: server.database,
        }  # fmt: skip


# Over HTTP those that JSON has no word for.
HTTP = ("Uuid", "Bytes", "Json", "Float", "[Bytes]", "Any?")


@pytest.mark.parametrize(("engine", "keys"), [*(("mem", t) for t in TYPES), *(("http", t) for t in HTTP)])
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_each_row_is_settled_under_its_own_key(
    stores: dict[str, Callable[[], Any]], engine: str, keys: str, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.tuples(TYPES[keys], STRINGS), max_size=6))
    store = stores[engine]()
    source = create(store, keys, "String", rows)
    try:
        summarize(store, source)
    except SourceError as error:
        assert keys in REFUSED, error
        assert f"of type {source.key_type}" in str(error)
        assert store.versions.batches() == []
    else:
        settled(store, source)


@pytest.mark.parametrize(("engine", "contents"), [*(("mem", t) for t in CONTENTS), *(("http", t) for t in HTTP)])
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_each_content_is_settled_and_an_edit_is_noticed(
    stores: dict[str, Callable[[], Any]], engine: str, contents: str, data: st.DataObject
) -> None:
    drawn = data.draw(st.lists(CONTENTS[contents], max_size=6))
    store = stores[engine]()
    rows = [(Value("$v", f"k{number}"), content) for number, content in enumerate(drawn)]
    source = create(store, "String", contents, rows)
    summarize(store, source)
    settled(store, source)
    again = plan(store, source, 10)
    assert (again.new, again.changed, again.deleted, again.read) == (0, 0, 0, len(drawn))


def nested(levels: int) -> list[Any]:
    value: Any = ["x"]
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("engine", ["mem", "http"])
def test_a_deep_content_stops_no_other(stores: dict[str, Callable[[], Any]], engine: str) -> None:
    store = stores[engine]()
    rows = [("bytes", nested(3)), ("plain", "def f(): pass")]
    source = create(store, "String", "Any?", [(Value("$v", key), Value("$v", content)) for key, content in rows])
    # Another client's: it can't be sent over HTTP.
    database = store.connection if engine == "mem" else stores["server"]()
    write = {"write": True} if engine == "mem" else {}
    database.run("?[k, c] <- [['deep', $v]] :put r {k => c}", {"v": nested(900)}, **write)
    summarize(store, source)
    settled(store, source)


def test_what_is_too_deep_is_refused_by_name() -> None:
    store = CozoStore.open(DatabaseSettings(url="mem://deep-key"))
    source = create(store, "Any", "String", [(Value("$v", nested(1_000)), Value("$v", "x"))])
    with pytest.raises(SourceError, match="a key of type Any is nested too deep"):
        plan(store, source, 10)
    store = CozoStore.open(DatabaseSettings(url="mem://deep-content"))
    source = create(store, "String", "Any", [(Value("$v", "x"), Value("$v", nested(3_000)))])
    with pytest.raises(SourceError, match="nested deeper than 1,024 levels"):
        plan(store, source, 10)
