"""``dobby failed``: list the records that failed, or release them."""

from __future__ import annotations

from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.doubt_lines import redo_command
from dobby_dagster.cli.help_format import Command, Group
from dobby_dagster.cli.output import out, print_json, print_table
from dobby_dagster.domain.errors import Retry
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import NO_RECIPE
from dobby_dagster.domain.states import is_quarantined

failed = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="List the records that failed, or release them, so that the next run retries them.",
)


@failed.command("list", cls=Command)
@options.takes("database", "relation")
def failed_list(
    given: options.Given,
    batch: Annotated[str | None, typer.Option(help="Only those of one batch, as batch-000042.")] = None,
    as_json: options.Json = False,
) -> None:
    """List the records that failed, with their errors."""
    use = opened(given)
    _ = use.source.types
    use.batches(batch)
    rows = list(use.store.states.failed(use.relation, use.recipe() or NO_RECIPE))
    rows = [row for row in rows if batch in (None, row["batch"])]
    retries = use.settings.pipeline.max_retries
    for row in rows:
        row["quarantined"] = is_quarantined(Retry(row["retry"]), row["retry_count"], retries)
    if as_json:
        print_json(rows)
    elif rows:
        table = [(r["key"], r["error"], r["retry_count"], "yes" if r["quarantined"] else "no") for r in rows]
        print_table(["key", "error", "attempts", "quarantined"], table)
        out.print(f"To retry them: {use.command('failed release')}", soft_wrap=True)
        out.print(f"With another model, and the unsure ones: {redo_command(use, use.recipe())}", soft_wrap=True)
    else:
        out.print("No record has failed.")


@failed.command("release", cls=Command)
@options.takes("database", "relation")
def failed_release(
    given: options.Given,
    keys: Annotated[list[str] | None, typer.Argument(help="Keys; by default all failed records.")] = None,
    as_json: options.Json = False,
) -> None:
    """Return failed records to pending, so that the next run retries them."""
    from dobby_dagster.pipeline.planning.record_selection import release

    use = opened(given)
    _ = use.source.types
    released = release(use.store, use.relation, use.recipe() or NO_RECIPE, keys or [])
    chosen = [key for batch in released.values() for key in batch]
    if as_json:
        print_json({"released": chosen})
    elif chosen:
        again = use.summarize_command(use.recipe())
        how = f"To retry: {again}" if again else "To retry, summarise with the former model and settings."
        out.print(f"{counted(len(chosen), 'record')} released. {how}", soft_wrap=True)
    else:
        out.print("No record has failed.")
