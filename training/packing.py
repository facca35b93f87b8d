"""Examples as token identifiers: packed on disk, and cut into batches of like length for training."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from dobby_dagster.inference.prompts import CUT, truncate_middle
from training.corpus.pair import Pair
from training.tokenizer import CODE, SUMMARY

CODE_TOKENS = 160
SUMMARY_TOKENS = 40
# Pairs that come a second time with their documentation in place, as most records have it.
DOCUMENTED_SHARE = 0.3
SMOOTHING = 0.7
MOST_REPEATS = 3.0
# C is the language in which the name alone is the better summary: docs/decisions, 41.
EMPHASIS = {"c": 2.0}
SUMMARY_WEIGHT = 1.0
# The code teaches the language: loss on a share of its tokens, at a lower weight.
CODE_WEIGHT = 0.3
CODE_SHARE = 0.15
# Where this share of a summary's tokens stands in the code, it is copied from there,
COPIED_TOKENS = 0.9
# and in this share of such examples this share of those tokens is exchanged for others, in the summary and in the code,
# so that copying is learned for any token and not for the frequent ones: docs/decisions, 45.
EXCHANGED_EXAMPLES = 0.7
EXCHANGED_TOKENS = 0.4
# Batches are padded to a multiple of this: fewer shapes to compile, and whole vectors.
LENGTH_STEP = 8
_LETTERS = re.compile("Ġ?[a-z]+")


def repeats(pairs: Sequence[Pair]) -> dict[str, float]:
    """How often a pair of each language comes: languages with few come more often.

    A language's share is drawn towards the others' by the power ``SMOOTHING`` (Conneau et al. 2020, arXiv:1911.02116,
    section 3.1) and multiplied by ``EMPHASIS``, and none comes more than ``MOST_REPEATS`` times.
    """
    counts = Counter(pair.language for pair in pairs)
    most = max(counts.values())
    return {
        language: min(MOST_REPEATS, EMPHASIS.get(language, 1.0) * (most / count) ** (1 - SMOOTHING))
        for language, count in counts.items()
    }


def texts(pairs: Sequence[Pair], rng: random.Random) -> Iterator[tuple[str, str]]:
    """Every pair without its documentation as often as its language wants, and a share of them with it as well."""
    often = repeats(pairs)
    for pair in pairs:
        times = int(often[pair.language] + rng.random())
        for _ in range(times):
            yield pair.code, pair.summary
            if pair.documentation and rng.random() < DOCUMENTED_SHARE:
                yield pair.documented, pair.summary


def pack(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerFast, seed: int) -> dict[str, np.ndarray]:
    """Examples ``<|code|> code <|summary|> summary <|end|>``, one after another.

    Returns:
        ``tokens`` (uint16, flat), ``offsets`` (int64, one more than examples) and ``starts`` (int32: where in an
        example its summary begins).
    """
    backend = tokenizer.backend_tokenizer
    code_id, summary_id = (tokenizer.convert_tokens_to_ids(token) for token in (CODE, SUMMARY))
    cut = backend.encode(CUT).ids
    flat: list[np.ndarray] = []
    starts, offsets = [], [0]
    examples = list(texts(pairs, random.Random(seed)))
    for begin in range(0, len(examples), 2_000):
        part = examples[begin : begin + 2_000]
        codes = backend.encode_batch([code[:3_000] for code, _ in part])
        summaries = backend.encode_batch([summary for _, summary in part])
        for code, summary in zip(codes, summaries, strict=True):
            body, _ = truncate_middle(code.ids, CODE_TOKENS, cut)
            ids = [code_id, *body, summary_id, *summary.ids[:SUMMARY_TOKENS], tokenizer.eos_token_id]
            starts.append(len(body) + 2)
            offsets.append(offsets[-1] + len(ids))
            flat.append(np.array(ids, dtype=np.uint16))
    return {
        "tokens": np.concatenate(flat),
        "offsets": np.array(offsets, dtype=np.int64),
        "starts": np.array(starts, dtype=np.int32),
    }


@dataclass(frozen=True)
class Batch:
    """``ids`` (examples x tokens, right-padded with 0), and the flat positions, targets and weights of the loss."""

    ids: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on ``device``."""
        return Batch(*(value.to(device) for value in (self.ids, self.positions, self.targets, self.weights)))


def is_copied(tokens: np.ndarray, start: int) -> bool:
    """Whether nearly all tokens of an example's summary, which begins at ``start``, stand in its code."""
    return bool(np.isin(tokens[start:-1], tokens[: start - 1]).mean() >= COPIED_TOKENS)


def kinds_of_tokens(tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """What each token is, by identifier: 1 what begins a word, 2 what goes on with one, 0 what is no letters."""
    names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return np.array([0 if not _LETTERS.fullmatch(name) else 1 if name[0] == "Ġ" else 2 for name in names])


def exchanged(tokens: np.ndarray, start: int, kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An example in which a share of its summary's tokens are others of their kind, wherever they stand in it.

    Args:
        tokens: The example.
        start: Where its summary begins.
        kinds: What each token is; those of kind 0 stay.
        rng: Decides which.
    """
    table = np.arange(len(kinds), dtype=tokens.dtype)
    summary = np.unique(tokens[start:-1])
    chosen = summary[rng.random(len(summary)) < EXCHANGED_TOKENS]
    for kind in (1, 2):
        some = chosen[kinds[chosen] == kind]
        table[some] = rng.choice(np.flatnonzero(kinds == kind), len(some))
    return table[tokens]


class Packed:
    """The packed examples of one role.

    Args:
        path: The file.
        kinds: What each token is, for the exchange of tokens; none is exchanged where it is None.
        most: Examples at most, spread evenly over the file; all where it is 0.
    """

    def __init__(self, path: Path, kinds: np.ndarray | None = None, most: int = 0) -> None:
        self.kinds = kinds
        with np.load(path) as arrays:
            self.tokens, self.offsets, self.starts = arrays["tokens"], arrays["offsets"], arrays["starts"]
        self.lengths = np.diff(self.offsets)
        every = max(1, len(self.starts) // most) if most else 1
        self.members = np.arange(0, len(self.starts), every)

    def epoch(self, size: int, seed: int) -> Iterator[Batch]:
        """Every example once: shuffled, sorted by length inside windows of 32 batches, batches shuffled again."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(self.members)
        for window in np.array_split(order, max(1, len(order) // (size * 32))):
            window = window[np.argsort(self.lengths[window], kind="stable")]
            batches = np.array_split(window, max(1, len(window) // size))
            for index in rng.permutation(len(batches)):
                yield self.batch(batches[index], rng)

    def batch(self, members: np.ndarray, rng: np.random.Generator) -> Batch:
        """One batch; loss on all of the summary and on a share of the code."""
        longest = -(-int(self.lengths[members].max()) // LENGTH_STEP) * LENGTH_STEP
        ids = np.zeros((len(members), longest), dtype=np.int64)
        weights = np.zeros((len(members), longest), dtype=np.float32)
        for row, member in enumerate(members):
            tokens, start = self.tokens[self.offsets[member] : self.offsets[member + 1]], self.starts[member]
            if self.kinds is not None and is_copied(tokens, start) and rng.random() < EXCHANGED_EXAMPLES:
                tokens = exchanged(tokens, start, self.kinds, rng)
            else:
                weights[row, : start - 2] = CODE_WEIGHT * (rng.random(start - 2) < CODE_SHARE)
            weights[row, start - 1 : len(tokens) - 1] = SUMMARY_WEIGHT
            ids[row, : len(tokens)] = tokens
        positions = np.flatnonzero(weights)
        return Batch(
            torch.from_numpy(ids),
            torch.from_numpy(positions),
            torch.from_numpy(np.roll(ids, -1, axis=1).reshape(-1)[positions]),
            torch.from_numpy(weights.reshape(-1)[positions]),
        )
