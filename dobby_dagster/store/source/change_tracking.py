"""How Dobby finds the changed rows of a source relation without reading all rows.

``queue``: triggers on the relation put the key of every row that is put or removed into a queue, inside
the writer's own transaction. Always for Dobby's own relation; for another only where the settings allow
it and the relation has no triggers yet.
``watermark``: a column that grows with each change.
``comparison``: every row is read and its hash compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, islice
from typing import Any

from dobby_dagster.domain.settings import OWN_RELATION
from dobby_dagster.store.cozoscript.script import name
from dobby_dagster.store.cozoscript.value_text import tag_of, text_of
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import SOURCE
from dobby_dagster.store.ledger.schema import relations
from dobby_dagster.store.source.source_relation import ORDERED_TYPES, Source, Tracking


@dataclass(frozen=True, slots=True)
class TrackingState:
    """The method in use, why it was chosen, and its progress."""

    method: Tracking
    why: str
    watermark: Any
    compared_at: float | None


def queue_name(source: Source) -> str:
    """The relation that holds the keys of changed rows."""
    return f"dobby_queue_{name(source.settings.relation)}"


def choose(source: Source) -> tuple[Tracking, str]:
    """The cheapest method that ``source`` and the settings allow, and why."""
    spec = source.settings
    if spec.relation == OWN_RELATION or spec.allow_triggers:
        rows = source.connection.run(f"::show_triggers {name(spec.relation)}").rows
        foreign = [row for row in rows if queue_name(source) not in row[2]]
        if not foreign:
            return "queue", "triggers on the relation record each change"
        why = "the relation has triggers of its own"
    else:
        why = "triggers on your relation are not allowed (source.allow_triggers)"
    if spec.updated_at:
        return "watermark", f"column '{spec.updated_at}'; {why}"
    return "comparison", f"every row is read and compared; {why}"


def prepare(source: Source) -> TrackingState:
    """Choose the method, set triggers where it is the queue, and return its progress.

    The first time, and after a change of the method, ``compared_at`` is None: a full comparison is due.
    The triggers are set before that comparison starts, so that no change is missed.
    """
    connection = source.connection
    method, why = choose(source)
    query = (
        "?[tracking, watermark, compared_at] := *dobby_source{relation: $relation, tracking, watermark, compared_at}"
    )
    rows = connection.run(query, {"relation": source.settings.relation}).rows
    known = bool(rows) and rows[0][0] == method
    if method == "queue" and not (known and _has_triggers(source)):
        known = False
        _set_triggers(source)
    if not known:
        save(connection, source, method, None, None)
        return TrackingState(method, why, None, None)
    return TrackingState(method, why, rows[0][1], rows[0][2])


def save(connection: Connection, source: Source, method: Tracking, watermark: Any, compared_at: float | None) -> None:
    """Store the progress of tracking."""
    connection.run(SOURCE.put(), {"rows": [[source.settings.relation, method, watermark, compared_at]]}, write=True)


def queued(source: Source, limit: int) -> list[tuple[str, str]]:
    """Up to ``limit`` changed keys, each with the token of its last change."""
    view = f"tag = {tag_of('k')}, text = {text_of('k')}"
    query = f"?[k, tag, text, token] := *{queue_name(source)}{{k, token}}, {view} :limit {int(limit)}"
    rows = source.connection.run(query).rows
    return list(zip(source.keys_in(rows), (str(row[3]) for row in rows), strict=True))


def queued_keys(source: Source, size: int, after: str | None = None) -> Iterator[list[str]]:
    """The keys of the queue in their order, ``size`` at a time; none where nothing tracks changes.

    Text and whole-number keys are read page by page, others at once.

    Args:
        source: Whose queue it is.
        size: Of a page.
        after: Only keys after this one; "" may be a key.
    """
    if queue_name(source) not in relations(source.connection):
        return
    view = f"*{queue_name(source)}{{k}}, tag = {tag_of('k')}, text = {text_of('k')}"
    if source.key_type not in ORDERED_TYPES:
        found = iter(sorted(source.keys_in(source.connection.run(f"?[k, tag, text] := {view}").rows)))
        left = dropwhile(lambda key: after is not None and key <= after, found)
        while keys := list(islice(left, size)):
            yield keys
        return
    last = None if after is None else source.decode(after)
    while True:
        bound, parameters = ("", {}) if last is None else (", k > $last", {"last": last})
        rows = source.connection.run(f"?[k, tag, text] := {view}{bound} :limit {int(size)}", parameters).rows
        if rows:
            yield source.keys_in(rows)
        if len(rows) < size:
            return
        last = rows[-1][0]


def queue_length(source: Source) -> int:
    """How many changed keys are in the queue."""
    if queue_name(source) not in relations(source.connection):
        return 0
    return int(source.connection.run(f"?[count(k)] := *{queue_name(source)}{{k}}").rows[0][0])


def queued_rows(source: Source) -> int:
    """How many rows were written since the queue was emptied; a deleted row is none of them."""
    if queue_name(source) not in relations(source.connection):
        return 0
    query = f"?[count(k)] := *{queue_name(source)}{{k}}, {source.atom(key='k')}"
    return int(source.connection.run(query).rows[0][0])


def _has_triggers(source: Source) -> bool:
    rows = source.connection.run(f"::show_triggers {name(source.settings.relation)}").rows
    return sum(queue_name(source) in row[2] for row in rows) == 2


def _set_triggers(source: Source) -> None:
    relation, queue = name(source.settings.relation), queue_name(source)
    columns = list(source.types)
    bound = ", ".join("k" if c == source.settings.key else f"_c{i}" for i, c in enumerate(columns))
    with source.connection.session(write=True):
        if queue not in relations(source.connection):
            source.connection.run(f":create {queue} {{k: {source.key_type} => token: Uuid}}", write=True)
        source.connection.run(
            f"::set_triggers {relation}"
            f" on put {{ ?[k, token] := _new[{bound}], token = rand_uuid_v4() :put {queue} {{k => token}} }}"
            f" on rm {{ ?[k, token] := _old[{bound}], token = rand_uuid_v4() :put {queue} {{k => token}} }}",
            write=True,
        )
