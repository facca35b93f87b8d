"""Any relation of the user's: its keys, its columns, its changes, and names that are traps."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.errors import DobbyError, SourceError
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.cozoscript.script import name
from dobby_dagster.store.ledger.schema import LATEST

UUIDS = [f"{i:08x}-d055-469b-9807-ca7c971770bb" for i in range(7)]


def relation(store: CozoStore, create: str, rows: list[list[Any]], **columns: Any) -> SourceSettings:
    store.connection.run(f":create code {{{create}}}", write=True)
    put(store, create, rows)
    return SourceSettings(relation="code", key="id", content="body", **columns)


def put(store: CozoStore, create: str, rows: list[list[Any]]) -> None:
    names = [part.split(":")[0].strip() for part in create.replace("=>", ",").split(",")]
    bound = ", ".join(
        f"{n} = {'to_uuid' if 'Uuid' in create and n == 'id' else ''}(get(r, {i}))" for i, n in enumerate(names)
    )
    store.connection.run(
        f"?[{', '.join(names)}] := r in $rows, {bound} :put code {{id => {', '.join(names[1:])}}}",
        {"rows": rows},
        write=True,
    )


@pytest.mark.parametrize(
    ("create", "keys"),
    [
        ("id: String => body: String", ["a", "json:x", "'q' \"", "Z"]),
        ("id: Int => body: String", [3, -1, 10, 200]),
        ("id => body", ["a", "b", "c"]),
        ("id => body", ["a", 1, 2.5, True, None, [1, "x"]]),
        ("id: Uuid => body: String", UUIDS),
        ("id: Float => body", [1.5, 2.5]),
    ],
)
def test_keys_of_every_type_are_paged_and_found(store: CozoStore, create: str, keys: list[Any]) -> None:
    spec = relation(store, create, [[key, f"about {key}"] for key in keys])
    source = store.source(spec)
    found = [record for page in source.pages(2) for record in page]
    assert sorted(str(source.decode(record.key)) for record in found) == sorted(map(str, keys))
    assert {record.content for record in found} == {f"about {key}" for key in keys}
    changes = plan(store, source, 100)
    assert (changes.new, changes.changed, changes.deleted) == (len(keys), 0, 0)


def test_optional_columns_are_carried_along(store: CozoStore) -> None:
    create = "id: String => body: String, lang: String, prio: Int, path: String"
    rows = [["a", "x", "Python", 1, "p/a"], ["b", "y", "Go", 9, "p/b"]]
    spec = relation(store, create, rows, language="lang", priority="prio", metadata=("path",))
    source = store.source(spec)
    record = source.get(["b"])["b"]
    assert (record.language, record.priority, record.metadata) == ("go", 9, {"path": "p/b"})
    [batch] = plan(store, source, 10).batches
    assert [m.version.key for m in store.states.members(Scope("r", batch.id))] == ["b", "a"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"relation": "cod"}, r"has no relation 'cod' \(did you mean 'code'\?\)"),
        ({"content": "bod"}, r"has no column 'bod' \(did you mean 'body'\?\)"),
        ({"language": "nope"}, "has no column 'nope'"),
        ({"key": "body"}, r"column 'body' is not the key of relation 'code', whose key is: id \(String\)"),
        ({"relation": "dobby_state", "key": "key"}, "has no relation 'dobby_state'"),
    ],
)
def test_missing_relations_and_columns_are_named(any_store: CozoStore, columns: dict[str, str], message: str) -> None:
    spec = relation(any_store, "id: String => body: String", [])
    with pytest.raises(SourceError, match=message):
        any_store.source(spec.model_copy(update=columns))


def changes_of(store: CozoStore, spec: SourceSettings, **options: Any) -> tuple[str, int, int, int, int]:
    found = plan(store, store.source(spec), 100, **options)
    return found.method, found.new, found.changed, found.deleted, found.read


def edit(store: CozoStore, columns: str, first: list[Any], second: list[Any]) -> None:
    put(store, columns, [first, second])
    store.connection.run("?[id] <- [['b']] :rm code {id}", write=True)


TRACKED: list[tuple[str, Callable[[int], list[Any]], dict[str, Any], str, int]] = [
    ("id: String => body: String", lambda t: [], {"allow_triggers": True}, "queue", 2),
    ("id: String => body: String, at: Int", lambda t: [t], {"updated_at": "at"}, "watermark", 3),
    ("id: String => body: String", lambda t: [], {}, "comparison", 101),
]


@pytest.mark.parametrize(("create", "extra", "columns", "way", "read"), TRACKED)
def test_changes_are_found_by_each_way(
    store: CozoStore, create: str, extra: Callable[[int], list[Any]], columns: dict[str, Any], way: str, read: int
) -> None:
    rows = [[key, f"body of {key}", *extra(1)] for key in ["a", "b", *(f"k{i:02d}" for i in range(97))]]
    rows.append(["z", "the latest", *extra(5)])
    spec = relation(store, create, rows, **columns)
    assert changes_of(store, spec) == (way, 100, 0, 0, 100)
    edit(store, create, ["a", "edited", *extra(6)], ["new", "added", *extra(7)])
    put(store, create, [["zz", "x", *extra(8)]])
    store.connection.run("?[id] <- [['zz']] :rm code {id}", write=True)
    assert changes_of(store, spec) == (way, 1, 1, 1, read - (way == "comparison"))
    assert changes_of(store, spec)[1:4] == (0, 0, 0)
    assert changes_of(store, spec, full_scan=True)[1:] == (0, 0, 0, 100)


def test_a_relation_with_triggers_of_its_own_keeps_them(any_store: CozoStore) -> None:
    spec = relation(any_store, "id: String => body: String", [], allow_triggers=True)
    any_store.connection.run(":create log {id: String}", write=True)
    theirs = "::set_triggers code on put { ?[id] := _new[id, body] :put log {id} }"
    any_store.connection.run(theirs, write=True)
    found = plan(any_store, any_store.source(spec), 10)
    assert (found.method, "triggers of its own" in found.reason) == ("comparison", True)
    assert len(any_store.connection.run("::show_triggers code").rows) == 1


def test_a_change_that_comes_between_reading_the_queue_and_settling_it_is_kept(any_store: CozoStore) -> None:
    from dobby_dagster.store.source.change_tracking import prepare, queued

    spec = relation(any_store, "id: String => body: String", [["a", "1"]], allow_triggers=True)
    source = any_store.source(spec)
    prepare(source)
    put(any_store, "id: String => body: String", [["a", "2"]])
    entries = queued(source, 10)
    put(any_store, "id: String => body: String", [["a", "3"]])
    any_store.versions.note(source, [], [], entries)
    assert [key for key, _ in queued(source, 10)] == ["a"]


def test_a_failure_moves_nothing_forward(any_store: CozoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    create = "id: String => body: String, at: Int"
    spec = relation(any_store, create, [["a", "1", 1]], updated_at="at")
    changes_of(any_store, spec)
    put(any_store, create, [["b", "2", 2]])
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(any_store.versions, "note", lambda *a: (_ for _ in ()).throw(OSError("broken")))
        changes_of(any_store, spec)
    assert changes_of(any_store, spec)[1] == 1


HOSTILE = [
    "a} :rm record {key",
    "a; ::remove record",
    "a'",
    "{",
    "",
    "1a",
    "a b",
    "a\n",
    "*a",
    "ｋ",
    "a" * 101,
    "a}\n{?[x]<-[[1]]}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_refused_before_they_reach_a_script(any_store: CozoStore, text: str) -> None:
    with pytest.raises(SourceError):
        name(text)
    for column in ("relation", "key", "content", "language", "priority", "updated_at"):
        with pytest.raises((DobbyError, ValueError)):
            SourceSettings.model_validate({column: text})
        forged = SourceSettings().model_copy(
            update={column: text, "relation": "code" if column != "relation" else text}
        )
        with pytest.raises(DobbyError):
            any_store.source(forged)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(HOSTILE))
def test_hostile_values_stay_values(any_store: CozoStore, value: str) -> None:
    connection = any_store.connection
    connection.run("?[key, content] <- [[$v, $v]] :put record {key => content}", {"v": value}, write=True)
    source = any_store.source(SourceSettings())
    assert source.get([value])[value].content == value
    plan(any_store, source, 10)
    assert value in any_store.versions.known(source, [value])
    assert any_store.reports.summaries_of("record", value) == []
    assert [event["event"] for event in any_store.states.history("record", value)][:1] == ["seen"]
    assert any_store.health().schema_version == LATEST


@pytest.mark.parametrize(
    ("create", "columns", "message"),
    [
        ("a: Int, b: Bytes => body: String", {"key": "a"}, r"whose key is: a \(Int\), b \(Bytes\)"),
        ("id: String, at: Validity => body: String", {}, r"whose key is: id \(String\), at \(Validity\)"),
        (
            "id: Validity => body: String",
            {},
            "column 'id' of relation 'code' is of type Validity, which can't be the key",
        ),
        ("id: Int => body: String, t: Bytes", {"updated_at": "t"}, "of type Bytes, which can't be the updated_at"),
    ],
)
def test_a_relation_that_can_not_be_read_by_key_is_refused_with_its_type(
    any_store: CozoStore, create: str, columns: dict[str, str], message: str
) -> None:
    any_store.connection.run(f":create code {{{create}}}", write=True)
    with pytest.raises(SourceError, match=message):
        any_store.source(SourceSettings(**({"relation": "code", "key": "id", "content": "body"} | columns)))


def test_two_keys_with_the_same_text_are_refused_by_name(store: CozoStore) -> None:
    spec = relation(store, "id => body", [[UUIDS[0], "a text"]])
    store.connection.run(
        f"?[id, body] := id = to_uuid('{UUIDS[0]}'), body = 'a UUID' :put code {{id => body}}", write=True
    )
    with pytest.raises(SourceError, match=f"two rows of relation 'code' have the key '{UUIDS[0]}'.*of type Any"):
        plan(store, store.source(spec), 10)


def test_a_row_that_can_be_listed_and_not_read_is_an_error(
    any_store: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = relation(any_store, "id: Int => body: String", [[1, "x"], [2, "y"]])
    source = any_store.source(spec)
    get = type(source).get
    monkeypatch.setattr(type(source), "get", lambda self, keys: {k: r for k, r in get(self, keys).items() if k != "2"})
    with pytest.raises(
        SourceError, match="1 of 2 rows of relation 'code' can't be read by their key, such as '2'.*Int"
    ):
        plan(any_store, source, 10)


@pytest.mark.parametrize(
    ("times", "later"),
    [([None, 1], None), (["x", 1], 2), ([1.5, 2], None), ([1, None], "y")],
)
def test_a_watermark_of_mixed_types_loses_no_row(store: CozoStore, times: list[Any], later: Any) -> None:
    create = "id: String => body: String, at"
    spec = relation(store, create, [[f"k{i}", "x", at] for i, at in enumerate(times)], updated_at="at")
    assert changes_of(store, spec)[1] == len(times)
    put(store, create, [["later", "new", later]])
    assert changes_of(store, spec)[1:4] == (1, 0, 0)
    assert changes_of(store, spec)[1:4] == (0, 0, 0)


@pytest.mark.parametrize("priority", [float("inf"), float("-inf"), 1e300, 2**63 - 1, -(2**63), True, "high", None])
def test_an_odd_priority_stops_nothing(any_store: CozoStore, priority: Any) -> None:
    create = "id: String => body: String, prio"
    spec = relation(any_store, create, [["a", "x", priority], ["b", "y", 1]], priority="prio")
    [batch] = plan(any_store, any_store.source(spec), 10).batches
    assert {m.version.key for m in any_store.states.members(Scope("r", batch.id))} == {"a", "b"}


QUEUED = ["a", "json:x", 5, 1.5, None, True, [1, "x"], {"b": 1}]


def test_changes_of_keys_of_every_type_go_through_the_queue(store: CozoStore) -> None:
    spec = relation(store, "id => body", [["first", "x"]], allow_triggers=True)
    assert changes_of(store, spec)[:2] == ("queue", 1)
    put(store, "id => body", [[key, "x"] for key in QUEUED])
    assert changes_of(store, spec)[1:4] == (len(QUEUED), 0, 0)
    for key in QUEUED:
        store.connection.run("?[id] <- [[$k]] :rm code {id}", {"k": key}, write=True)
    assert changes_of(store, spec)[1:4] == (0, 0, len(QUEUED))
    assert changes_of(store, spec)[1:] == (0, 0, 0, 0)
