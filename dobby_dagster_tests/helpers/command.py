"""All commands of ``dobby``, and what one answers, for tests that run it."""

import json
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import typer

from dobby_dagster.cli.command_tree import app


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Dobby = Callable[..., Answer]
_WRONG_PLURAL = re.compile(
    r"\(s\)(?!:)|(?<![\w.,])1 (records|batches|summaries|files|runs|rows|recipes|processes|slots|tokens)\b"
)


def check_plurals(text: str) -> None:
    """What a command prints has no "1 records" and no "record(s)"."""
    found = _WRONG_PLURAL.search(text)
    assert found is None, text[max(0, found.start() - 40) : found.end() + 40]


def _commands(group: Any, words: tuple[str, ...] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = (*words, name)
        found |= _commands(command, inner) if hasattr(command, "commands") else {" ".join(inner): command}
    return found


# The command as a process of its own.
PROCESS = [sys.executable, "-m", "dobby_dagster.cli.app"]
# Every command by its words.
COMMANDS = _commands(typer.main.get_command(app))
