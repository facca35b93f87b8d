"""Batches for :mod:`training.llama`: examples of like length side by side, in a row of always as many tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SUMMARY_WEIGHT = 1.0
CODE_SHARE = 0.25
# Where a summary stands in the code, in this share of the examples this share of its tokens is exchanged for others, in
# the summary and in the code, so that any token can be copied: docs/decisions, 45.
EXCHANGED_EXAMPLES = 0.4
EXCHANGED_TOKENS = 0.4
LENGTH_STEP = 8
WINDOW = 64


@dataclass(frozen=True)
class Batch:
    """Sequences in one row of tokens, and where there is loss.

    Attributes:
        ids, positions: (tokens,); first ``rows`` sequences of ``length`` tokens each, then filling.
        places, targets: (losses,); where there is loss, and the token that should follow.
        spoken: (losses,); whether it is a token of the summary.
    """

    ids: np.ndarray
    positions: np.ndarray
    rows: int
    length: int
    places: np.ndarray
    targets: np.ndarray
    spoken: np.ndarray


class Examples:
    """Packed examples: see :func:`training.packing.pack`.

    Args:
        path: An ``.npz`` with ``tokens``, ``offsets``, ``starts``, ``often`` (how often an example comes in an epoch),
            ``copied`` (whether its summary stands in its code) and ``kinds`` (of tokens, for the exchange).
        tokens: Of a batch.
    """

    def __init__(self, path: Path, tokens: int) -> None:
        with np.load(path) as arrays:
            self.tokens, self.offsets, self.starts = arrays["tokens"], arrays["offsets"], arrays["starts"]
            self.often, self.copied, kinds = arrays["often"], arrays["copied"], arrays["kinds"]
        self.size = tokens
        self.lengths = np.diff(self.offsets)
        self.alike = {kind: np.flatnonzero(kinds == kind) for kind in (1, 2)}
        self.kinds = kinds

    def epoch(self, seed: int) -> list[np.ndarray]:
        """The examples of each batch: shuffled, sorted by length inside windows, batches shuffled again."""
        rng = np.random.default_rng(seed)
        times = np.floor(self.often + rng.random(len(self.often))).astype(np.int64)
        order = rng.permutation(np.repeat(np.arange(len(times)), times))
        share = max(1, self.size * WINDOW // max(1, int(self.lengths.mean())))
        batches: list[np.ndarray] = []
        for window in np.array_split(order, max(1, len(order) // share)):
            window = window[np.argsort(self.lengths[window], kind="stable")]
            batches += self._cut(window)
        return [batches[index] for index in rng.permutation(len(batches))]

    def _cut(self, window: np.ndarray) -> list[np.ndarray]:
        """As many neighbours as fit, again and again."""
        found, begin = [], 0
        padded = -(-self.lengths[window] // LENGTH_STEP) * LENGTH_STEP
        for end in range(1, len(window) + 1):
            if end == len(window) or padded[end] * (end + 1 - begin) > self.size:
                found.append(window[begin:end])
                begin = end
        return found

    def batch(self, members: Sequence[int] | np.ndarray, seed: int, *, learning: bool = True) -> Batch:
        """One batch; loss on the summaries and, when learning, on a share of the code."""
        rng = np.random.default_rng(seed)
        length = -(-int(self.lengths[members].max()) // LENGTH_STEP) * LENGTH_STEP
        ids = np.zeros((len(members), length), dtype=np.int64)
        kind = np.zeros((len(members), length), dtype=np.int8)
        for row, member in enumerate(members):
            tokens, start = self.tokens[self.offsets[member] : self.offsets[member + 1]], self.starts[member]
            exchanged = learning and self.copied[member] and rng.random() < EXCHANGED_EXAMPLES
            if exchanged:
                tokens = self._exchanged(tokens, start, rng)
            elif learning:
                kind[row, : start - 2] = rng.random(start - 2) < CODE_SHARE
            kind[row, start - 1 : len(tokens) - 1] = 2
            ids[row, : len(tokens)] = tokens
        filling = self.size - ids.size
        places = np.flatnonzero(kind)
        targets = np.roll(ids, -1, axis=1).reshape(-1)[places]
        positions = np.tile(np.arange(length), len(members))
        spoken = kind.reshape(-1)[places] == 2
        ids, positions = (np.pad(each.reshape(-1), (0, filling)) for each in (ids, positions))
        return Batch(ids, positions, len(members), length, places, targets, spoken)

    def _exchanged(self, tokens: np.ndarray, start: int, rng: np.random.Generator) -> np.ndarray:
        table = np.arange(len(self.kinds), dtype=tokens.dtype)
        summary = np.unique(tokens[start:-1])
        chosen = summary[rng.random(len(summary)) < EXCHANGED_TOKENS]
        for kind, others in self.alike.items():
            some = chosen[self.kinds[chosen] == kind]
            if len(others):
                table[some] = rng.choice(others, len(some))
        return table[tokens]
