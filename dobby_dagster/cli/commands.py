"""All commands of ``dobby``, and the options of the program itself."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from dobby_dagster import __version__
from dobby_dagster.cli import batches, doubts, operate, records, source_trees
from dobby_dagster.cli.exit_status import exit_status
from dobby_dagster.cli.output import encode_anything, log_to_stderr
from dobby_dagster.cli.summarize import summarize

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A good short summary of every record in a CozoDB database, by a local language model.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dobby {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say on standard error what is being done.")] = False,
) -> None:
    log_to_stderr(logging.INFO if verbose else logging.ERROR)


app.command()(source_trees.ingest)
app.command()(summarize)
app.command()(operate.status)
app.command()(records.show)
app.command()(records.history)
app.command()(records.export)
app.add_typer(records.failed_app, name="failed")
app.command()(batches.backfill)
app.command()(doubts.redo)
app.command()(batches.preview)
app.command()(batches.purge)
app.command()(operate.recover)
app.command("config")(operate.show_config)
app.command()(operate.models)
app.command()(operate.doctor)
app.command()(operate.dev)
app.command()(operate.backup)
app.command()(operate.restore)


def run() -> int:
    """Run the command that ``sys.argv`` names; its exit status."""
    encode_anything()
    return exit_status(lambda: app(prog_name="dobby", standalone_mode=False))
