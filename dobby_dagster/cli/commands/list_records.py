"""``dobby list``: records with their summaries, filtered, sorted and paged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import note, out, print_json, print_table
from dobby_dagster.cli.record_lookup import typed
from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.states import State
from dobby_dagster.domain.suggest import suggestion

ORDERS = ("key", "confidence", "newest")


@options.takes("database", "relation")
def list_(
    given: options.Given,
    prefix: Annotated[str, typer.Argument(help="Only keys that begin so, as src/parser.py.")] = "",
    state: Annotated[str | None, typer.Option(help=f"Only records in this state: {', '.join(State)}.")] = None,
    language: options.Language = None,
    kind: options.Kind = None,
    below: options.Below = None,
    unsure: options.Unsure = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only records that failed.")] = False,
    stale: options.Stale = False,
    recipe: options.Recipe = None,
    sort: Annotated[str, typer.Option(help=f"{', '.join(ORDERS)}: the least confident or the newest first.")] = "key",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Records on a page.")] = 20,
    page: options.Page = 1,
    as_json: options.Json = False,
) -> None:
    """List records with their summaries.

    Example: dobby list src/parser --unsure --sort confidence
    """
    from dobby_dagster.pipeline.reporting.record_list import Order, RecordFilter, list_records, require_known

    if state is not None and state not in tuple(State):
        raise SettingsError(f"there is no state '{state}'", hint=suggestion(state, tuple(State)))
    if sort not in ORDERS:
        raise SettingsError(f"records can't be sorted by '{sort}'", hint=suggestion(sort, ORDERS))
    if failed and state not in (None, State.FAILED):
        raise SettingsError(f"--failed contradicts --state {state}")
    use = opened(given)
    below = options.highest_confidence(below, use.settings.pipeline.unsure_below if unsure else None)
    named = State.FAILED if failed else state
    wanted = RecordFilter(typed(prefix), named, language and language.lower(), kind, below, stale)
    require_known(use.source, wanted)
    found = list_records(use.store, use.source, use.recipe(recipe), wanted, Order(sort), limit, page)
    if as_json:
        print_json({"records": found.rows, "page": page, "more": found.more})
        return
    if not found.rows:
        out.print(_nothing(wanted, page))
        return
    rows = [(row["key"], row["summary"] or _why_none(row), _confidence(row)) for row in found.rows]
    print_table(["key", "summary", "confidence"], rows)
    if found.more:
        note(f"There is more: --page {page + 1}")


def _nothing(wanted: Any, page: int) -> str:
    from dobby_dagster.pipeline.reporting.record_list import RecordFilter

    if page > 1:
        return f"There is no page {page}."
    return "There are no records." if wanted == RecordFilter() else "No record matches."


def _why_none(row: Mapping[str, Any]) -> str:
    why = row["error"] or row["reason"]
    if row["former_summary"] is not None and not row["error"]:
        return f"(changed since: {row['former_summary']})"
    return f"({row['state']}: {why})" if why else f"({row['state']})"


def _confidence(row: Mapping[str, Any]) -> str:
    return "" if row["summary"] is None else shown_confidence(row["confidence"])
