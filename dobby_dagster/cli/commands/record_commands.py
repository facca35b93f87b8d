"""Commands about records: show, history, export, failed."""

from __future__ import annotations

import difflib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.help_format import Command, Group
from dobby_dagster.cli.output import note, out, print_json, print_table
from dobby_dagster.cli.progress_bars import progress
from dobby_dagster.domain.errors import DobbyError, SettingsError, SourceError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import printable
from dobby_dagster.domain.scope import NO_RECIPE

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened

failed_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Records that failed: list them, or release them for another try.",
)
# Keys that a misspelt one is compared with, at most.
NEAR_KEYS = 20_000
FORMER = {
    "content": "former: of an earlier content",
    "recipe": "former: of another model, prompt or setting",
    "deleted": "former: the record is deleted",
    "": "current",
}


def show(
    key: Annotated[str, typer.Argument(help="The record's key.")],
    database: options.Database = None,
    relation: options.Relation = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Show a record's state and its summaries: the current one first, then former ones."""
    use = opened(config, database__url=database, source__relation=relation)
    recipe = use.recipe()
    state = use.store.reports.state_of(use.relation, key, recipe)
    if state is None:
        require_row(use, key)
        state = {"state": "pending", "reason": "no plan has seen it yet", "error": ""}
    rows = use.store.reports.summaries_of(use.relation, key, recipe)
    if as_json:
        print_json({"key": key, "state": state["state"], "reason": state["reason"], "error": state["error"],
                    "summaries": rows})  # fmt: skip
        return
    out.print(f"{printable(key)}: {state['state']} {state['reason'] or state['error']}".rstrip())
    for row in rows:
        out.print(f"\n{row['text']}")
        facts = ("model", "prompt", "confidence", "min_logprob", "prompt_tokens", "output_tokens", "truncated",
                 "finish_reason", "batch", "fingerprint")  # fmt: skip
        told = [("summary", FORMER[row["former"]])]
        print_table(["", ""], told + [(name, "unknown" if row[name] is None else row[name]) for name in facts])


def require_row(use: Opened, key: str) -> None:
    """Raise unless the source holds a row at ``key``.

    Raises:
        SourceError: It does not; the hint names a key that is near.
    """
    message = f"there is no record '{key}' in '{use.relation}'"
    try:
        if use.source.get([key]):
            return
    except SourceError as error:
        raise SourceError(message, hint=str(error)) from error
    except DobbyError:
        raise
    except Exception:  # noqa: S110 - a text that is no key of the column's type is the key of no row
        pass
    known: list[str] = []
    for page in use.source.key_pages(NEAR_KEYS):
        known = page
        break
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"see {use.command('export')}"
    raise SourceError(message, hint=hint)


def history(
    key: Annotated[str, typer.Argument(help="The record's key.")],
    database: options.Database = None,
    relation: options.Relation = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Show everything that ever happened to a record: the audit trail."""
    use = opened(config, database__url=database, source__relation=relation)
    events = use.store.states.history(use.relation, key)
    if not events:
        require_row(use, key)
    if as_json:
        print_json(events)
        return
    if not events:
        out.print("Nothing yet: no plan has seen this record.")
        return
    rows = []
    for event in events:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["at"]))
        what = event["error"] or event["reason"]
        rows.append((when, event["event"], event["content_hash"][:8], event["batch"], event["run"][:8], what))
    print_table(["when", "event", "content", "batch", "run", "why"], rows)


def export(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file instead of standard output.")] = None,
    format_name: Annotated[
        str | None,
        typer.Option("--format", "-f", help="markdown, jsonl, csv or parquet; by default as --output ends."),
    ] = None,
    force: options.Force = False,
    content: Annotated[bool, typer.Option("--content", help="Write the contents, too.")] = False,
    database: options.Database = None,
    relation: options.Relation = None,
    recipe: Annotated[str | None, typer.Option(help="Model and prompt, by identifier; see dobby status.")] = None,
    unsure: Annotated[bool, typer.Option("--unsure", help="Only what has an unsure summary.")] = False,
    config: options.ConfigFile = None,
) -> None:
    """Write every row of the source with its state and its summary by the last used model and prompt.

    Example: dobby export -o summaries.csv
    """
    from dobby_dagster.domain.suggest import suggestion
    from dobby_dagster.pipeline.reporting.doubtful_summaries import only_unsure
    from dobby_dagster.pipeline.reporting.export import (
        FORMATS,
        TEXT_FORMATS,
        check_output,
        described,
        export_file,
        export_text,
    )

    if format_name is not None and format_name not in FORMATS:
        raise SettingsError(f"there is no format '{format_name}'", hint=suggestion(format_name, FORMATS))
    if output is not None:
        check_output(output, format_name, force=force)
    elif format_name is not None and format_name not in TEXT_FORMATS:
        raise SettingsError("parquet is no text", hint="name a file with --output")
    use = opened(config, database__url=database, source__relation=relation)
    chosen = use.recipe(recipe)
    entries = described(use.store.reports.rows(use.source, chosen), content=content)
    if unsure:
        entries = only_unsure(entries, use.settings.pipeline.unsure_below)
    if output is None:
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
        export_text(entries, sys.stdout, format_name or "markdown")
        return
    with progress("Writing", use.source.count()) as advance:
        count = export_file(_counted(entries, advance), output, format_name, force=force)
    note(f"{counted(count, 'record')} written to {output}")


@failed_app.command("list", cls=Command)
def failed_list(
    database: options.Database = None,
    relation: options.Relation = None,
    batch: Annotated[str | None, typer.Option(help="Of one batch, as batch-000042.")] = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """List the records that failed, with their errors."""
    use = opened(config, database__url=database, source__relation=relation)
    _ = use.source.types
    use.batches(batch)
    rows = list(use.store.states.failed(use.relation, use.recipe() or NO_RECIPE))
    rows = [row for row in rows if batch in (None, row["batch"])]
    retries = use.settings.pipeline.max_retries
    for row in rows:
        row["quarantined"] = row["retry"] not in ("retry", "back_off") or row["retry_count"] >= retries
    if as_json:
        print_json(rows)
    elif rows:
        table = [(r["key"], r["error"], r["retry_count"], "yes" if r["quarantined"] else "no") for r in rows]
        print_table(["key", "error", "tries", "quarantined"], table)
        out.print(f"Try them again: {use.command('failed release')}", soft_wrap=True)
    else:
        out.print("No record has failed.")


@failed_app.command("release", cls=Command)
def failed_release(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys; all failed records where none is named.")] = None,
    database: options.Database = None,
    relation: options.Relation = None,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Return failed records to pending, so that the next run tries them again."""
    from dobby_dagster.pipeline.planning.record_selection import release

    use = opened(config, database__url=database, source__relation=relation)
    _ = use.source.types
    released = release(use.store, use.relation, use.recipe() or NO_RECIPE, keys or [])
    chosen = [key for batch in released.values() for key in batch]
    if as_json:
        print_json({"released": chosen})
    elif chosen:
        again = use.command("summarize")
        out.print(f"{counted(len(chosen), 'record')} released. Try again: {again}", soft_wrap=True)
    else:
        out.print("No record has failed.")


def _counted(entries: Iterable[Any], advance: Callable[[], object]) -> Iterator[Any]:
    for entry in entries:
        yield entry
        advance()
