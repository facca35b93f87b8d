"""The pair that the corpus is made of, and its file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A piece of code without its documentation, the documentation as it stood, and its first sentence.

    Attributes:
        project: The package that it comes from.
        language: As Dobby names it.
        kind: ``function``, ``method``, ``class`` or ``section``.
        name: As Dobby names it, ``Class.method``.
        code: Without its documentation.
        documentation: As it stood, with its markers.
        at: Where in ``code`` it stood, in characters.
        summary: Its first sentence, as plain text.
    """

    project: str
    language: str
    kind: str
    name: str
    code: str
    documentation: str
    at: int
    summary: str

    @property
    def documented(self) -> str:
        """The code with its documentation in its place, as most records have it."""
        return self.code[: self.at] + self.documentation + self.code[self.at :]


def read(path: Path) -> list[Pair]:
    """The pairs of one JSON lines file."""
    with path.open() as stream:
        return [Pair(**json.loads(line)) for line in stream]


def write(path: Path, pairs: Iterable[Pair]) -> int:
    """Write pairs as JSON lines; return how many."""
    count = 0
    with path.open("w") as stream:
        for pair in pairs:
            stream.write(json.dumps(asdict(pair)) + "\n")
            count += 1
    return count
