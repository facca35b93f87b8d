"""``dobby dev``: the Dagster UI and daemon with this project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import note
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.remembered import REMEMBERED, as_environment


@options.takes("database", *options.SOURCE, "model", "prompt", "prompt_file", "automation")
def dev(
    given: options.Given,
    host: Annotated[
        str, typer.Option(help="Address to listen at; if others can reach it, the UI requires a login.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the Dagster UI; 0 for any free one.")] = 3000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another host name that browsers use for the UI, as through a proxy."),
    ] = None,
) -> None:
    """Start the Dagster UI and daemon with this project, and the monitor, and restart them if they end."""
    from dobby_dagster.cli.server.dev_services import serve
    from dobby_dagster.defs.runs.dagster_home import dagster_home
    from dobby_dagster.inference.recipe import recipe_for
    from dobby_dagster.pipeline.monitoring.alert_channels import channels, unusable

    use = opened(given)
    _ = use.source.types
    recipe_for(use.settings)
    for problem in unusable(channels(use.settings.automation)):
        raise SettingsError(problem)
    environment = {**os.environ, **as_environment(use.settings, ("database.url", "automation.enabled", *REMEMBERED))}
    environment |= {"DOBBY_CONFIG": str(given.config)} if given.config else {}
    environment["DAGSTER_HOME"] = str(dagster_home(use.settings))
    home = Path(environment["DAGSTER_HOME"])
    serve(home, host, port, allow_host or [], use.settings.monitor, environment, note)
