"""``dobby doctor``: check that everything works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.engine_list import show_engines
from dobby_dagster.cli.exit_codes import FAILED
from dobby_dagster.cli.output import is_unicode, print_json, print_table
from dobby_dagster.cli.progress_bars import working
from dobby_dagster.domain.errors import StoreError
from dobby_dagster.domain.printable import shell_word

Engines = Annotated[bool, typer.Option("--engines", help="Only list the engines: what each supports and needs.")]


@options.takes("database", *options.SOURCE, "model", "device", "prompt")
def doctor(given: options.Given, engines: Engines = False, as_json: options.Json = False) -> None:
    """Check versions, database, model and device: what works, and how to fix the rest."""
    from dobby_dagster.cli.health_checks import diagnose

    command: Callable[..., str]
    try:
        use = opened(given)
    except StoreError:  # the check of the database reports it
        settings, command = given.load().settings, _plain_command
    else:
        settings, command = use.settings, use.command
    if engines:
        show_engines(settings, as_json)
        return
    with working("Checking versions, database, model and device…"):
        findings = diagnose(settings, command)
    if as_json:
        print_json([finding.__dict__ for finding in findings])
    else:
        good, bad, arrow = ("✓", "✗", "→") if is_unicode() else ("ok", "!", "->")
        rows = [
            (good if f.ok else bad, f.name, f.message + (f"\n{arrow} {f.remedy}" if f.remedy else "")) for f in findings
        ]
        print_table(["", "check", "result"], rows)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(FAILED)


def _plain_command(name: str, *arguments: str) -> str:
    return " ".join(["dobby", name, *map(shell_word, arguments)])
