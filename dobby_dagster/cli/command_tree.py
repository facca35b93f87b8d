"""All commands of ``dobby``, and the options of the program itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated

import typer

from dobby_dagster import __version__
from dobby_dagster.cli.commands import batch_commands, ingest_command, record_commands, redo_command, system_commands
from dobby_dagster.cli.commands.init_command import init
from dobby_dagster.cli.commands.summarize_command import summarize
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
- `dobby export -o summaries.csv` writes what there is
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
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say on standard error what is being done.")] = False,
) -> None:
    log_to_stderr(logging.INFO if verbose else logging.ERROR)


# The help lists commands by task, in the order in which a new user needs them.
COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Summarise": {
        "init": init,
        "ingest": ingest_command.ingest,
        "preview": batch_commands.preview,
        "summarize": summarize,
    },
    "Look at what there is": {
        "status": system_commands.status,
        "show": record_commands.show,
        "history": record_commands.history,
        "export": record_commands.export,
    },
    "Repeat and clean up": {
        "backfill": batch_commands.backfill,
        "redo": redo_command.redo,
        "purge": batch_commands.purge,
    },
    "Operate": {
        "dev": system_commands.dev,
        "doctor": system_commands.doctor,
        "recover": system_commands.recover,
        "backup": system_commands.backup,
        "restore": system_commands.restore,
    },
    "Settings": {"config": system_commands.show_config, "models": system_commands.models},
}
for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, cls=Command, rich_help_panel=panel)(command)
app.add_typer(record_commands.failed_app, name="failed", rich_help_panel="Repeat and clean up")


def run() -> int:
    """Run the command that ``sys.argv`` names; its exit status."""
    encode_anything()
    return exit_status(lambda: app(prog_name="dobby", standalone_mode=False))
