"""What a generator is: it writes outputs for prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from dobby_dagster.inference.local.prompt_encoding import Encoded
from dobby_dagster.inference.local.token_selection import Written


class Generator(Protocol):
    """Writes outputs for prompts, in any order."""

    def run(self, prompts: Sequence[Encoded], seeds: Sequence[str]) -> Iterator[Written]:
        """One output for each prompt; ``seeds`` make sampling independent of what shares the device."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A generator with its weights in memory, and what there is to say about it."""

    generator: Generator
    engine: str
    reason: str
    slots: int
    dtype: str
    parameters: int
    bytes: int
