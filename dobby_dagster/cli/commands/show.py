"""``dobby show``: one record's state and summaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import out, print_json, print_table
from dobby_dagster.cli.record_lookup import found_key
from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import printable
from dobby_dagster.domain.records import content_hash, readable_text

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened
    from dobby_dagster.domain.records import Record

CONTENT_LINES = 40
FORMER = {
    "content": "former: from earlier content",
    "recipe": "former: from another model, prompt or setting",
    "deleted": "former: the record is deleted",
    "": "current",
}


@options.takes("database", "relation")
def show(
    given: options.Given,
    key: Annotated[str, typer.Argument(help="The record's key, its beginning, or any part that only one key has.")],
    full: Annotated[bool, typer.Option("--full", help="Show the whole content, however long it is.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show a record: its content, its state, and its summaries, the current one first, then former ones.

    Example: dobby show tempfile.py::mkstemp
    """
    use = opened(given)
    recipe = use.recipe()
    key = found_key(use, key)
    state = use.store.reports.state_of(use.relation, key, recipe)
    if state is None:
        state = {"state": "pending", "reason": "not planned yet", "error": ""}
    rows = use.store.reports.summaries_of(use.relation, key, recipe)
    record = _record(use, key)
    if record is not None and state.get("content_hash") not in (None, present := content_hash(record.content)):
        state = {"state": "pending", "reason": "changed since its summary", "error": ""}  # and no plan has seen it yet
        rows = [{**row, "former": row["former"] or "content" * (row["content_hash"] != present)} for row in rows]
    content = readable_text(record.content) if record is not None else None
    if as_json:
        print_json({"key": key, "state": state["state"], "reason": state["reason"], "error": state["error"],
                    "summaries": rows, "content": content})  # fmt: skip
        return
    out.print(f"{printable(key)}: {state['state']} {state['reason'] or state['error']}".rstrip(), soft_wrap=True)
    for row in rows:
        out.print(f"\n{row['text']}", soft_wrap=True)
        facts = ("model", "prompt", "confidence", "min_logprob", "prompt_tokens", "output_tokens", "truncated",
                 "finish_reason", "batch", "fingerprint")  # fmt: skip
        shown = {**row, "confidence": shown_confidence(row["confidence"])}
        values = [(name, "unknown" if shown[name] is None else shown[name]) for name in facts]
        print_table(["", ""], [("summary", FORMER[row["former"]]), *values])
    if record is not None:
        _show_content(record, content, full=full)


def _record(use: Opened, key: str) -> Record | None:
    """The row of the source; None where it is gone, or has no such column as a content any more."""
    try:
        return use.source.get([key]).get(key)
    except SourceError:
        return None


def _show_content(record: Record, content: str | None, *, full: bool) -> None:
    place = ":".join(str(record.metadata[name]) for name in ("path", "line") if name in record.metadata)
    out.print(f"\ncontent{f' ({place})' if place else ''}:")
    if content is None:
        out.print(f"  binary, {record.size:,} bytes")
        return
    lines = content.splitlines()
    for line in lines if full else lines[:CONTENT_LINES]:
        out.print(f"  {line}", soft_wrap=True)
    if len(lines) > CONTENT_LINES and not full:
        out.print(f"  … {counted(len(lines) - CONTENT_LINES, 'more line')}; show them with --full")
