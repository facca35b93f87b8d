"""What holds for any keys, contents and summaries: no answer is too long, and all pages together are everything, once."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from itertools import count
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dobby_dagster.agent_server import arguments
from dobby_dagster.agent_server import cursor as cursors
from dobby_dagster.agent_server.answer import (
    ANSWER_BYTES,
    KEY_BYTES,
    NOTE_BYTES,
    SUMMARY_BYTES,
    Answer,
    Entry,
    Found,
    Listing,
    cut,
    fill,
)
from dobby_dagster.agent_server.arguments import PagedArguments
from dobby_dagster.agent_server.changes_since import ChangesArguments, changes_since
from dobby_dagster.agent_server.outline import OutlineArguments, outline
from dobby_dagster.agent_server.outline_tree import places
from dobby_dagster.agent_server.reading import Database, Reading
from dobby_dagster.agent_server.server import answered
from dobby_dagster.agent_server.show_record import ShowArguments, show
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.printable import printable
from dobby_dagster.domain.settings import Settings, SourceSettings
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger import record_changes
from dobby_dagster_tests.helpers.pipeline_run import RECIPE
from dobby_dagster_tests.helpers.records import put

_number = count()
NASTY = st.characters(codec="utf-8") | st.sampled_from('\\"\n\t\x00\x1b\u202e\u200b\U000e0041😀é')
LONG = st.builds(str.__mul__, st.text(NASTY, min_size=1, max_size=30), st.integers(0, 200))
SEGMENT = st.text("ab.:/#é ", min_size=1, max_size=4)
KEYS = st.builds("/".join, st.lists(SEGMENT, min_size=1, max_size=3)) | st.builds(
    "{}.py::{}".format, SEGMENT, st.builds(".".join, st.lists(st.sampled_from(["A", "b", "1"]), min_size=1, max_size=3))
)


class Everything(Listing[Entry]):
    pass


ENTRIES = st.builds(
    Entry,
    key=LONG.map(printable),
    kind=LONG.map(lambda text: cut(text, 60)),
    language=LONG.map(lambda text: cut(text, 60)),
    line=st.none() | st.integers(0, 2**63),
    state=st.sampled_from(["completed", None]),
    reason=LONG.map(lambda text: cut(text, NOTE_BYTES)),
    summary=st.none() | LONG.map(lambda text: cut(text, SUMMARY_BYTES)),
    confidence=st.none() | st.floats(0, 1),
    current=st.booleans(),
)


def assert_bounded(answer: Answer) -> None:
    sent = answered(answer)
    assert len(sent.model_dump_json(by_alias=True, exclude_none=True).encode()) <= ANSWER_BYTES - 100
    _validator(type(answer)).validate(sent.structuredContent)


@cache
def _validator(answer: type[Answer]) -> Any:
    schema = answer.model_json_schema(mode="serialization")
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@given(st.lists(ENTRIES, max_size=40), st.integers(1, 30), st.lists(LONG, max_size=2))
def test_all_pages_together_are_everything_once(entries: list[Entry], limit: int, notes: list[str]) -> None:
    query = PagedArguments().query()
    shown: list[Entry] = []
    begin = 0
    while True:
        found = (Found(entry, f"{place}") for place, entry in enumerate(entries[begin:], begin))
        blank = Everything(entries=(), notes=tuple(cut(note, NOTE_BYTES) for note in notes))
        answer = fill(blank, found, query, limit)
        longer = answer.with_notes(lambda note: note * 9)
        assert_bounded(longer)
        shown += answer.entries
        if answer.next is None:
            break
        begin = int(cursors.decode(query, answer.next)) + 1
    assert shown == [entry for entry in entries if len(entry.key.encode()) <= KEY_BYTES]


@pytest.fixture(scope="module")
def use() -> Reading:
    settings = Settings.model_validate({"database": {"url": "mem://bounds"}})
    store = CozoStore.open(settings.database)
    store.recipes.remember(RECIPE)
    return Database(lambda memory: settings).read()


def empty(use: Reading) -> None:
    use.store.connection.run("?[key] := *record{key} :rm record {key}", write=True)


@given(LONG)
def test_the_parts_of_a_content_are_all_of_it(use: Reading, content: str) -> None:
    key = f"key{next(_number)}"
    put(use.store, {key: content})
    parts, cursor = [], ""
    while cursor is not None:
        answer = show(use, ShowArguments(key=key, cursor=cursor))
        assert_bounded(answer)
        parts.append(answer.content or "")
        cursor = answer.next
    assert "".join(parts) == printable(content, lines=True)
    use.store.connection.run("?[key] <- [[$key]] :rm record {key}", {"key": key}, write=True)


@example({"b.py::A.b", "b::a/...a"}, 3, 1)  # the folder "b::a" is sorted behind "b.py", though "b" is sorted before it
@given(st.sets(KEYS, max_size=12), st.integers(1, 4), st.integers(1, 5))
def test_all_pages_of_an_outline_are_all_places(use: Reading, keys: set[str], depth: int, limit: int) -> None:
    empty(use)
    put(use.store, dict.fromkeys(keys, "content"))
    shown, cursor = [], ""
    if not keys:
        return
    expected = places(keys, "", depth)
    while cursor is not None:
        assert len(shown) <= len(expected), "it ends"
        answer = outline(use, OutlineArguments(depth=depth, limit=limit, cursor=cursor))
        assert_bounded(answer)
        shown += [(entry.key, entry.records) for entry in answer.entries]
        cursor = answer.next
    assert shown == [(place.key, place.records) for place in expected]
    assert len({place.order for place in expected}) == len(expected)
    assert sum(place.records for place in expected if place.depth == 1) == len(keys)


@example({"b", "b::a/x.py::f"}, 1)
@example({"b::a/x.py", "b::a/x.py::f.g", "b::a/x.py::f"}, 2)
@example({"a//b", "a/"}, 1)
@given(st.sets(KEYS, min_size=1, max_size=12), st.integers(1, 4))
def test_the_outline_of_a_path_is_what_is_beneath_it_in_the_whole_tree(
    use: Reading, keys: set[str], depth: int
) -> None:
    empty(use)
    put(use.store, dict.fromkeys(keys, "content"))
    whole = places(keys, "", 100)
    for above in whole:
        below = [
            (place.key, place.depth - above.depth, place.records)
            for place in whole
            if place.order[: above.depth] == above.order and above.depth < place.depth <= above.depth + depth
        ]
        answer = outline(use, OutlineArguments(path=above.key, depth=depth, limit=200))
        assert [(entry.key, entry.depth, entry.records) for entry in answer.entries] == below


def test_an_outline_of_a_relation_of_the_users_own_lists_its_rows(use: Reading) -> None:
    use.store.connection.run(":create own {id => content}", write=True)
    rows = [[key, "content"] for key in ("a/b/c", "a/b/d", "x::a/b", 7, ["a/b::c", 1])]
    use.store.connection.run("?[id, content] <- $rows :put own {id => content}", {"rows": rows}, write=True)
    settings = use.settings.model_copy(update={"source": SourceSettings(relation="own", key="id")})
    answer = outline(Database(lambda memory: settings).read(), OutlineArguments(depth=3))
    assert [(entry.key, entry.kind, entry.state) for entry in answer.entries] == [
        ("a", "folder", None), ("a/b", "folder", None), ("a/b/c", "text", "pending"), ("a/b/d", "text", "pending"),
        ("json:7", "text", "pending"), ('json:["a/b::c", 1]', "text", "pending"), ("x", "file", None),
        ("x::a/b", "text", "pending"),
    ]  # fmt: skip


@pytest.mark.parametrize("planned", [True, False])
def test_a_page_of_changes_reads_what_it_holds(planned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_changes, "_TRANSACTIONS", 2)

    def rows_read(records: int) -> list[int]:
        """By each of some pages of the changes of ``records`` records."""
        settings = Settings.model_validate({"database": {"url": f"mem://changes{next(_number)}"}})
        store = CozoStore.open(settings.database)
        source = store.source(settings.source)
        plan(store, source, 20)
        moment = store.counts.now()
        put(store, {f"key{i:05d}": "content" for i in range(records)})
        if planned:
            plan(store, source, 20)
        use, cursor, pages = Reading(settings, store, source, RECIPE.id), "", []
        plain = store.connection.run
        for _ in range(4):
            read: list[int] = []

            def counted(script: str, params: Any = None, *, write: bool = False, read: list[int] = read) -> Any:
                found = plain(script, params, write=write)
                read.append(sum(1 + sum(len(cell) for cell in row if isinstance(cell, list)) for row in found.rows))
                return found

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(store.connection, "run", counted)
                since = datetime.fromtimestamp(moment / 1e6, UTC).isoformat()
                answer = changes_since(use, ChangesArguments(since=since, limit=10, cursor=cursor))
            assert len(answer.entries) == 10
            cursor = answer.next or ""
            pages.append(sum(read))
        return pages

    assert max(rows_read(3_000)) <= max(rows_read(1_500)) + 10


@given(st.text(), st.text(max_size=200), st.text())
def test_a_cursor_is_of_one_query(query: str, position: str, other: str) -> None:
    position = position.encode("utf-8", "replace").decode()
    cursor = cursors.encode(query, position)
    assert cursors.decode(query, cursor) == position
    for wrong_query, wrong in ((query + "x", cursor), (query, cursor[:-1]), (query, other)):
        with pytest.raises(SettingsError):
            cursors.decode(wrong_query, wrong)


def test_a_cursor_of_an_earlier_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(arguments, "_FORM", 1)
        cursor = cursors.encode(ChangesArguments(since="1h").query(), "1:2:p:key")
    with pytest.raises(SettingsError, match="cursor"):
        ChangesArguments(since="1h", cursor=cursor).position()
