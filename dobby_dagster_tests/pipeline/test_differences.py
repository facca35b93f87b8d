"""What is known of edits before a plan looks at them."""

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.pipeline.planning.differences import edited, unplanned
from dobby_dagster.pipeline.planning.planner import plan, poll
from dobby_dagster.pipeline.reporting.waiting_records import count_waiting
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.records import prepared, put

KEYS = [f"k{i:04d}" for i in range(4)]
# A key of four that there are or of two new ones, and its new content; None deletes the row.
WRITES = st.lists(
    st.tuples(st.sampled_from([*KEYS, "new", "newer"]), st.sampled_from([None, "a", "b"])), max_size=8
)  # fmt: skip


def write(store: CozoStore, key: str, content: str | None) -> None:
    if content is None:
        store.connection.run("?[key] <- [[$key]] :rm record {key}", {"key": key}, write=True)
    else:
        put(store, {key: content})


@settings(max_examples=25)
@given(first=WRITES, then=WRITES)
def test_the_edited_records_are_those_whose_change_the_next_plan_finds(
    first: list[tuple[str, str | None]], then: list[tuple[str, str | None]]
) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")) as folder:
        store = prepared(Path(folder), len(KEYS))
        source = store.source(SourceSettings())
        plan(store, source, 2)
        for writes in (first, then):
            for key, content in writes:
                write(store, key, content)
            found = edited(store, source)
            assert edited(store, source) == found, "looking changes nothing"
            waiting = count_waiting(store, source)
            planned = plan(store, source, 2)
            assert planned.changed == len(found) == len({version.key for version in found})
            assert waiting == planned.changed + planned.new
            assert edited(store, source) == []
            assert count_waiting(store, source) == 0


def test_a_moved_record_is_new_and_nothing_is_changed(tmp_path: Path) -> None:
    store = prepared(tmp_path, 3)
    source = store.source(SourceSettings())
    plan(store, source, 5)
    content = source.get(["k0001"])["k0001"].content
    write(store, "k0001", None)
    put(store, {"moved": content})
    assert (edited(store, source), count_waiting(store, source)) == ([], 1)
    found = plan(store, source, 5)
    assert (found.new, found.changed, found.deleted) == (1, 0, 1)


def test_a_row_that_is_written_again_is_edited_only_if_it_differs(tmp_path: Path) -> None:
    store = prepared(tmp_path, 3)
    source = store.source(SourceSettings())
    assert edited(store, source) == [], "nothing is noted before the first plan"
    plan(store, source, 5)
    put(store, {key: record.content for key, record in source.get(KEYS).items()} | {"k0002": "other"})
    [version] = edited(store, source)
    assert (version.key, version.size) == ("k0002", 5)
    assert [unplanned(store, source, most) for most in (0, 2, 3)] == [3, 3, 1], "not read where there are many"


def test_a_record_that_waits_for_a_batch_and_is_edited_counts_once(tmp_path: Path) -> None:
    store = prepared(tmp_path, 3)
    source = store.source(SourceSettings())
    plan(store, source, 5)
    put(store, {"k0001": "other"})
    poll(store, source, 10)
    put(store, {"k0001": "another", "k0002": "other"})
    assert count_waiting(store, source) == 2
