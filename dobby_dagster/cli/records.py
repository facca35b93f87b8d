"""Commands about records: show, history, export, failed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from dobby_dagster.cli import options as opt
from dobby_dagster.cli.output import note, out, print_json, print_table
from dobby_dagster.cli.progress import progress
from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.printable import printable

failed_app = typer.Typer(no_args_is_help=True, help="Records that failed: list them, or release them for another try.")


def show(
    key: Annotated[str, typer.Argument(help="The record's key.")],
    database: opt.Database = None,
    relation: opt.Relation = None,
    config: opt.ConfigFile = None,
    as_json: opt.Json = False,
) -> None:
    """Show a record's summaries, of every model and prompt."""
    settings = opt.settings_from(config, database__url=database, source__relation=relation)
    store = _store(settings)
    rows = store.reports.summaries_of(settings.source.relation, key)
    events = store.work.history(settings.source.relation, key)
    if not events:
        raise SourceError(f"no record '{key}' of '{settings.source.relation}' was ever seen", hint="see dobby export")
    last = [event for event in events if event["recipe"]] or events
    if as_json:
        print_json({"key": key, "state": last[-1]["event"], "summaries": rows})
        return
    state = last[-1]
    out.print(f"{printable(key)}: {state['event']} {state['reason'] or state['error']}")
    for row in rows:
        out.print(f"\n{row['text']}")
        facts = ("model", "prompt", "confidence", "min_logprob", "prompt_tokens", "output_tokens", "truncated",
                 "finish_reason", "batch", "fingerprint")  # fmt: skip
        print_table(["", ""], [(name, "unknown" if row[name] is None else row[name]) for name in facts])


def history(
    key: Annotated[str, typer.Argument(help="The record's key.")],
    database: opt.Database = None,
    relation: opt.Relation = None,
    config: opt.ConfigFile = None,
    as_json: opt.Json = False,
) -> None:
    """Show everything that ever happened to a record: the audit trail."""
    settings = opt.settings_from(config, database__url=database, source__relation=relation)
    events = _store(settings).work.history(settings.source.relation, key)
    if not events:
        raise SourceError(f"no record '{key}' of '{settings.source.relation}' was ever seen")
    if as_json:
        print_json(events)
        return
    rows = []
    for event in events:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["at"]))
        what = event["error"] or event["reason"]
        rows.append((when, event["event"], event["content_hash"][:8], event["batch"], event["run"][:8], what))
    print_table(["when", "event", "content", "batch", "run", "why"], rows)


def export(
    format_name: Annotated[str, typer.Option("--format", "-f", help="markdown, jsonl, csv or parquet.")] = "markdown",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file instead of standard output.")] = None,
    database: opt.Database = None,
    relation: opt.Relation = None,
    recipe: Annotated[str | None, typer.Option(help="Model and prompt, by identifier; see dobby status.")] = None,
    unsure: Annotated[bool, typer.Option("--unsure", help="Only what has an unsure summary.")] = False,
    config: opt.ConfigFile = None,
) -> None:
    """Write every record with its state and its summary by the last used model and prompt."""
    from dobby_dagster.domain.errors import SettingsError
    from dobby_dagster.domain.suggest import suggestion
    from dobby_dagster.pipeline.doubts import only_unsure
    from dobby_dagster.pipeline.export import FORMATS, TEXT_FORMATS, export_file

    if format_name not in FORMATS:
        raise SettingsError(f"there is no format '{format_name}'", hint=suggestion(format_name, FORMATS))
    settings = opt.settings_from(config, database__url=database, source__relation=relation)
    store = _store(settings)
    chosen = recipe or store.work.latest_recipe()
    entries = store.reports.entries(settings.source.relation, chosen)
    if unsure:
        entries = only_unsure(entries, settings.pipeline.unsure_below)
    if output is not None:
        with progress("Writing", store.reports.status(settings.source.relation, chosen)["records"]) as advance:
            count = export_file(_counted(entries, advance), output, format_name)
        note(f"{count:,} records written to {output}")
    elif format_name in TEXT_FORMATS:
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
        TEXT_FORMATS[format_name](entries, sys.stdout)
    else:
        raise SettingsError("parquet is no text", hint="name a file with --output")


@failed_app.command("list")
def failed_list(
    database: opt.Database = None,
    relation: opt.Relation = None,
    batch: Annotated[str | None, typer.Option(help="Of one batch, as batch-000042.")] = None,
    config: opt.ConfigFile = None,
    as_json: opt.Json = False,
) -> None:
    """List the records that failed, with their errors."""
    settings = opt.settings_from(config, database__url=database, source__relation=relation)
    store = _store(settings)
    rows = list(store.work.failed(settings.source.relation, store.work.latest_recipe() or ""))
    rows = [row for row in rows if batch in (None, row["batch"])]
    retries = settings.pipeline.max_retries
    for row in rows:
        row["quarantined"] = row["retry"] not in ("retry", "back_off") or row["retry_count"] >= retries
    if as_json:
        print_json(rows)
    elif rows:
        table = [(r["key"], r["error"], r["retry_count"], "yes" if r["quarantined"] else "no") for r in rows]
        print_table(["key", "error", "tries", "quarantined"], table)
    else:
        out.print("No record has failed.")


@failed_app.command("release")
def failed_release(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys; all failed records where none is named.")] = None,
    database: opt.Database = None,
    relation: opt.Relation = None,
    config: opt.ConfigFile = None,
    as_json: opt.Json = False,
) -> None:
    """Return failed records to pending, so that the next run tries them again."""
    from dobby_dagster.pipeline.choosing import release

    settings = opt.settings_from(config, database__url=database, source__relation=relation)
    store = _store(settings)
    released = release(store, settings.source.relation, store.work.latest_recipe() or "", keys or [])
    chosen = [key for batch in released.values() for key in batch]
    if as_json:
        print_json({"released": chosen})
    else:
        out.print(f"{len(chosen)} records released; run dobby summarize to try them again.")


def _counted(entries: Iterable[Any], advance: Callable[[], object]) -> Iterator[Any]:
    for entry in entries:
        yield entry
        advance()


def _store(settings: Any) -> Any:
    from dobby_dagster.store.store import CozoStore

    return CozoStore.open(settings.database, create=False)
