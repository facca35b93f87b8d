"""All commands of ``dobby``, and the options of the program itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated

import typer

from dobby_dagster import __version__
from dobby_dagster.cli.commands.adapt import adapt
from dobby_dagster.cli.commands.alerts import alerts
from dobby_dagster.cli.commands.backfill import backfill
from dobby_dagster.cli.commands.backup import backup
from dobby_dagster.cli.commands.check import check
from dobby_dagster.cli.commands.config import config
from dobby_dagster.cli.commands.dev import dev
from dobby_dagster.cli.commands.diff import diff
from dobby_dagster.cli.commands.doctor import doctor
from dobby_dagster.cli.commands.export import export
from dobby_dagster.cli.commands.failed import failed
from dobby_dagster.cli.commands.graph import graph
from dobby_dagster.cli.commands.history import history
from dobby_dagster.cli.commands.ingest import ingest
from dobby_dagster.cli.commands.init import init
from dobby_dagster.cli.commands.list_records import list_
from dobby_dagster.cli.commands.mcp import mcp
from dobby_dagster.cli.commands.migrate import migrate
from dobby_dagster.cli.commands.models import models
from dobby_dagster.cli.commands.monitor import monitor
from dobby_dagster.cli.commands.preview import preview
from dobby_dagster.cli.commands.purge import purge
from dobby_dagster.cli.commands.recover import recover
from dobby_dagster.cli.commands.redo import redo
from dobby_dagster.cli.commands.report import report
from dobby_dagster.cli.commands.restore import restore
from dobby_dagster.cli.commands.search import search
from dobby_dagster.cli.commands.show import show
from dobby_dagster.cli.commands.site import site
from dobby_dagster.cli.commands.status import status
from dobby_dagster.cli.commands.summarize import summarize
from dobby_dagster.cli.commands.try_text import try_
from dobby_dagster.cli.commands.watch import watch
from dobby_dagster.cli.exit_status import exit_status
from dobby_dagster.cli.help_format import Command, Group
from dobby_dagster.cli.output import encode_anything, log_to_stderr

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""A good short summary of every record in a CozoDB database, by a local language model.

Examples:

- `dobby ingest src && dobby summarize` summarises every function of a source tree
- `dobby summarize -d sqlite:///code.db --relation code_data --key id --content body` summarises a relation of yours
- `dobby export -o summaries.csv` writes all summaries to a file
""",
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
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log to standard error what is being done.")] = False,
) -> None:
    log_to_stderr(logging.INFO if verbose else logging.ERROR)


# The help lists commands by task, in the order in which a new user needs them.
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Summarise": (init, ingest, preview, summarize, try_),
    "Show results": (status, list_, search, show, graph, check, diff, history, report, site, export, mcp),
    "Repeat and clean up": (backfill, redo, purge),
    "Operate": (dev, monitor, watch, doctor, alerts, recover, backup, restore, migrate),
    "Settings": (config, models, adapt),
}
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(command.__name__.rstrip("_"), cls=Command, rich_help_panel=panel)(command)
app.add_typer(failed, name="failed", rich_help_panel="Repeat and clean up")


def run() -> int:
    """Run the command that ``sys.argv`` names, and return its exit status."""
    encode_anything()
    return exit_status(lambda: app(prog_name="dobby", standalone_mode=False))
