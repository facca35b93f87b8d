"""Triggers of all relations, set again: their text is stored, and another driver may read it in another way."""

from __future__ import annotations

from dobby_dagster.store.cozoscript.script import name
from dobby_dagster.store.database.connection import Connection


def set_again(connection: Connection) -> None:
    """Set the triggers of each relation to the text that they have, as the driver of ``connection`` writes it."""
    for relation, *_ in connection.run("::relations").rows:
        if ":" in str(relation):  # an index
            continue
        rows = connection.run(f"::show_triggers {name(relation)}").rows
        if rows:
            triggers = " ".join(f"on {event} {{ {text} }}" for event, _, text in rows)
            connection.run(f"::set_triggers {name(relation)} {triggers}", write=True)
