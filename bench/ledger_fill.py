"""A ledger as after much work, written directly: batches whose records are all completed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.settings import Settings, SourceSettings
from dobby_dagster.inference.recipe import recipe_for
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.cozoscript.relation import Relation
from dobby_dagster.store.cozoscript.script import script
from dobby_dagster.store.ledger import relations
from dobby_dagster.store.source.change_tracking import prepare, save

# Rows that are put at once.
PAGE = 5_000
BATCHES_PER_RUN = 16
# The value of a column by its type, where it does not matter.
_BLANK: dict[str, Any] = {"String": "", "Int": 0, "Float": 0.0, "Json": {}, "Bool": False, "Any?": None}


def fill(store: CozoStore, settings: Settings, batches: int, members: int) -> None:
    """Give a new database ``batches`` settled batches of ``members`` records each, under the recipe of ``settings``.

    The records have no real content, and no hash is true; what counts and lists them can't tell.
    """
    recipe, now = recipe_for(settings), time.time()
    store.recipes.remember(recipe)
    per_page = max(1, PAGE // members)
    for begin in range(1, batches + 1, per_page):
        names = [batch_id(number) for number in range(begin, min(batches + 1, begin + per_page))]
        run_of = {name: f"bench-{int(name.rpartition('-')[2]) // BATCHES_PER_RUN}" for name in names}
        records = [
            {
                "source": "record", "key": f"{name}/{place}", "content": f"def f{place}(): return {name!r}",
                "content_hash": f"{name}-{place}", "batch": name, "position": place, "recipe": recipe.id, "size": 30,
                "state": "completed", "retry": "no_retry", "fingerprint": f"f-{name}-{place}", "run": run_of[name],
                "text": f"Return the name of the batch {name}.", "confidence": 0.5, "finish_reason": "stop",
                "model": recipe.model, "prompt": recipe.prompt, "created_at": now, "since": now, "updated_at": now,
            }
            for name in names
            for place in range(members)
        ]  # fmt: skip
        of_batch = [
            {
                "batch": name, "source": "record", "members": members, "created_at": now, "recipe": recipe.id,
                "chunk": f"{now:.6f}-{name}", "run": run_of[name], "started_at": now, "finished_at": now + 1,
                "completed": members, "inferred": members, "latencies": [0.01] * members, "stored_at": now,
                "values": {"records_completed": members}, "slots": 64, "slots_in_use": 32.0,
            }
            for name in names
        ]  # fmt: skip
        for relation in (relations.RECORD, relations.VERSION, relations.MEMBER, relations.STATE, relations.SUMMARY):
            put_rows(store, relation, records)
        for relation in (relations.BATCH, relations.CHUNK, relations.METRIC):
            put_rows(store, relation, of_batch)
    query = "?[name, value] <- [['next_batch', $next]] :put dobby_meta {name => value}"
    store.connection.run(query, {"next": batches + 1}, write=True)
    source = store.source(SourceSettings())
    save(store.connection, source, prepare(source).method, None, now)


def put_rows(store: CozoStore, relation: Relation, rows: Iterable[dict[str, Any]]) -> None:
    """Write ``rows`` at once; a column that a row does not name gets a blank of its type."""
    blanks = {column: _BLANK.get(kind) for column, kind in relation.types.items()}
    values = [[row.get(column, blanks[column]) for column in relation.columns] for row in rows]
    store.connection.run(script([relation.put()]), {"rows": values}, write=True)
