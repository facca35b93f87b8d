"""``dobby history``: one record's audit trail."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import out, print_json, print_table
from dobby_dagster.cli.record_lookup import found_key, typed


@options.takes("database", "relation")
def history(
    given: options.Given,
    key: Annotated[str, typer.Argument(help="The record's key.")],
    as_json: options.Json = False,
) -> None:
    """Show the audit trail of a record: every change of its state."""
    use = opened(given)
    key = typed(key)
    events = use.store.states.history(use.relation, key) or use.store.states.history(use.relation, found_key(use, key))
    if as_json:
        print_json(events)
        return
    if not events:
        out.print("No events: this record has not been planned yet.")
        return
    rows = []
    for event in events:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["at"]))
        what = event["error"] or event["reason"]
        rows.append((when, event["event"], event["content_hash"][:8], event["batch"], event["run"][:8], what))
    print_table(["when", "event", "content", "batch", "run", "why"], rows)
