"""``dobby report``: what was done, as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import note
from dobby_dagster.cli.progress_bars import progress
from dobby_dagster.domain.addresses import mask_credentials
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import NO_RECIPE, BatchId, RunId

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened

FILE = Path("dobby-report.html")


@options.takes("database", "relation")
def report(
    given: options.Given,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = FILE,
    force: options.Force = False,
    batch: Annotated[str | None, typer.Option(help="Only one batch, as batch-000042.")] = None,
    run: Annotated[
        str | None, typer.Option(help="Only what one run finished; the beginning of its identifier is enough.")
    ] = None,
    recipe: options.Recipe = None,
) -> None:
    """Write one HTML page about all records, a batch or a run: speed, states, confidence, failures, samples.

    The page loads nothing from the network, and can be printed.

    Example: dobby report -o report.html
    """
    from dobby_dagster.domain.atomic_file import replacing, require_new
    from dobby_dagster.pipeline.reporting.model_evidence import model_evidence
    from dobby_dagster.pipeline.reporting.plot_axes import require_plots
    from dobby_dagster.pipeline.reporting.report_figures import report_figures
    from dobby_dagster.pipeline.reporting.report_page import report_page
    from dobby_dagster.pipeline.reporting.report_texts import ReportSubject
    from dobby_dagster.store.ledger.report_pages import Extent

    if batch is not None and run is not None:
        raise SettingsError("a report covers a batch or a run", hint="give --batch or --run")
    if str(output) == "-":
        raise SettingsError("a report is written to a file, not to standard output", hint="name one with --output")
    require_new(output, force=force)
    require_plots()
    use = opened(given)
    chosen = use.recipe(recipe)
    use.batches(batch)
    extent = Extent(
        use.relation,
        chosen or NO_RECIPE,
        batch=None if batch is None else BatchId(batch),
        run=None if run is None else _run(use, run),
    )
    recipes = use.store.recipes.all()
    made_by = next((row for row in recipes if row["recipe"] == chosen), {"model": "", "model_revision": ""})
    total = use.store.versions.live(use.relation) if batch is run is None else None
    with progress("Reading", total) as advance:
        figures = report_figures(use.store, use.source, extent, use.settings, made_by["model"], advance)
    subject = ReportSubject(
        database=mask_credentials(use.settings.database.url),
        unsure_below=use.settings.pipeline.unsure_below,
        recipes=recipes,
        evidence=model_evidence(made_by["model"], made_by["model_revision"], use.settings.model),
    )
    with replacing(output, overwrite=force) as draft:
        draft.write_text(report_page(figures, subject), encoding="utf-8")
    note(f"a report on {counted(figures.tally.records, 'record')} written to {output}")


def _run(use: Opened, beginning: str) -> RunId:
    """The run whose identifier begins with ``beginning``.

    Raises:
        SettingsError: There is none, or more than one.
    """
    found = use.store.report_pages.runs(beginning)
    if len(found) == 1:
        return found[0]
    hint = f"it can be {found[0]} or {found[1]}" if found else f"see {use.command('history')} KEY, or Dagster's UI"
    raise SettingsError(
        f"{'more than one' if found else 'no'} run that committed anything begins with '{beginning}'", hint=hint
    )
