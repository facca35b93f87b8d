"""What a generator is, and what it is loaded from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.local.devices import Placement
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster.inference.local.token_selection import Selector
from dobby_dagster.inference.models.model_source import ModelSource
from dobby_dagster.inference.slot_use import SlotUse


class Generator(Protocol):
    """Generates the outputs of sequences."""

    def run(self, sequences: list[Sequence]) -> Iterator[Sequence]:
        """Each of the sequences when it is finished, in any order; their outputs have to be empty before."""
        ...

    def rest(self) -> None:
        """Free what only a run needs, such as the slots; another run takes it again."""
        ...


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """A model to load, and what it will be used for.

    Attributes:
        longest_prompt: In tokens, the most that a prompt will have.
        pad_token: Token to the left of shorter prompts, for a backend that pads.
        slot_use: Where the generator counts the slots that it uses.
    """

    source: ModelSource
    model: ModelSettings
    inference: InferenceSettings
    placement: Placement
    selector: Selector
    longest_prompt: int
    pad_token: int
    slot_use: SlotUse


@dataclass(frozen=True, slots=True)
class LoadedGenerator:
    """A generator with its weights in memory.

    Attributes:
        backend: Its name in the table of engines.
        slots: Requests in progress at once, at most.
        dtype: That the weights are computed in, such as ``bfloat16``.
        parameters: How many numbers the model has.
        bytes: Of the weights in memory.
        note: What else there is to say to people about how it runs.
        close: Frees what garbage collection would not.
    """

    generator: Generator
    backend: str
    slots: int
    dtype: str
    parameters: int
    bytes: int
    note: str = ""
    close: Callable[[], None] = lambda: None
