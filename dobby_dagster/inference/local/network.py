"""What continuous batching needs of a model: slots for keys and values, and passes through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

if TYPE_CHECKING:
    import numpy as np


class Slots(Protocol):
    """Keys and values of the running sequences: ``rows`` slots of ``columns`` tokens."""

    rows: int
    columns: int

    def reshaped(self, rows: int, columns: int) -> Self | None:
        """Empty slots of another shape in the same memory, in place of these; None where that can't be."""
        ...

    def move(self, source: int, target: int, length: int) -> None:
        """Move the first ``length`` tokens of slot ``source`` to ``target``, whose own are lost."""
        ...

    def clear(self, slot: int) -> None:
        """Set a slot to zero; needed where it may hold NaN."""
        ...


class DeviceLogits(Protocol):
    """Logits in a device's memory, (sequences, vocabulary) float32, from which little is copied."""

    def best(self) -> tuple[list[int], list[float]]:
        """The index of each row's largest logit (the first of equals), and its log-probability."""
        ...

    def __getitem__(self, place: int) -> np.ndarray:
        """The logits of one sequence, (vocabulary,)."""
        ...

    def numpy(self) -> np.ndarray:
        """The logits of all sequences."""
        ...


S = TypeVar("S", bound=Slots)
P = TypeVar("P")


class Network(Protocol[S, P]):
    """Passes through a model.

    Logits are (sequences, vocabulary) float32, valid until the next pass; :class:`DeviceLogits` on a device.

    Attributes:
        batch_invariant: Logits depend on the prompt and the shape of the slots alone, not on what else is in them.
    """

    batch_invariant: bool

    def slots(self, rows: int, columns: int) -> S:
        """Empty slots, of at least ``columns`` tokens each."""
        ...

    def prefix(self, ids: Sequence[int]) -> P:
        """Keys and values of tokens that many prompts begin with."""
        ...

    def prefill(
        self, prompts: Sequence[Sequence[int]], slots: S, first: int, prefix: P | None = None
    ) -> np.ndarray | DeviceLogits:
        """Read prompts into the slots from ``first`` on, and give the logits of each one's next token.

        Args:
            prompts: Token identifiers, without those of the prefix.
            slots: Where their keys and values go.
            first: The slot of the first prompt.
            prefix: What all of them begin with.
        """
        ...

    def decode(self, tokens: Sequence[int], positions: Sequence[int], slots: S) -> np.ndarray | DeviceLogits:
        """Append a token to each of the first slots, at its position, and give the logits of the next one."""
        ...
