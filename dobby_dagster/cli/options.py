"""Options that several commands share, and how they become settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.settings_loader import load_settings

Text = str | None
Database = Annotated[
    Text, typer.Option("--database", "-d", help="sqlite:///PATH, rocksdb:///PATH or http://HOST:PORT.")
]
Relation = Annotated[Text, typer.Option(help="The relation to summarise; by default Dobby's own, 'record'.")]
Key = Annotated[Text, typer.Option(help="Its key column.")]
ContentColumn = Annotated[Text, typer.Option("--content", help="The column to summarise.")]
Language = Annotated[Text, typer.Option(help="A column that names the language.")]
Priority = Annotated[Text, typer.Option(help="An integer column; higher is done first.")]
UpdatedAt = Annotated[Text, typer.Option(help="A column that grows with each change; avoids a full scan.")]
AllowTriggers = Annotated[
    bool | None,
    typer.Option("--allow-triggers", help="Let Dobby set triggers on your relation, to see changes."),
]
Model = Annotated[Text, typer.Option("--model", "-m", help="A model folder, or the name of one that comes with Dobby.")]
Device = Annotated[Text, typer.Option(help="auto, mps, cuda or cpu.")]
Slots = Annotated[int | None, typer.Option(help="Records in the device at once, at most.")]
PromptId = Annotated[Text, typer.Option("--prompt", help="summary, functionality, … or one of your own.")]
PromptFile = Annotated[Path | None, typer.Option(help="TOML file with your own prompts.")]
MaxNewTokens = Annotated[
    int | None, typer.Option(min=1, max=4096, help="Longest summary in tokens; by default the prompt's.")
]
BatchSize = Annotated[int | None, typer.Option(help="Records a batch, at most.")]
Reproducible = Annotated[
    bool | None, typer.Option("--reproducible", help="Byte-identical regardless of batching; slower.")
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Settings file; by default dobby.toml.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")]


def settings_from(config: Path | None, **named: Any) -> Settings:
    """Settings with the given arguments; ``section__name`` stands for ``section.name``, None for not given."""
    return load_settings({name.replace("__", "."): value for name, value in named.items()}, file=config).settings
