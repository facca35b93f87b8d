"""Fine-tuning of word vectors, so that a sentence is near to the code that it describes."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer

from training.corpus.pair import Pair

READ_CHARACTERS = 2_000
MOST_TOKENS = 160
BATCH = 512
# Of one project in a row, so that a sentence is compared with code of its own project too.
TOGETHER = 32
SCALE = 20.0
RATE = 2e-3


@dataclass(frozen=True)
class Tokens:
    """Distinct tokens of each pair's sentence, name and code."""

    sentences: list[np.ndarray]
    names: list[np.ndarray]
    code: list[np.ndarray]
    projects: list[str]


def tokens_of(tokenizer: Tokenizer, pairs: Sequence[Pair]) -> Tokens:
    """What training reads of ``pairs``."""

    def distinct(texts: list[str]) -> list[np.ndarray]:
        encoded = tokenizer.encode_batch_fast(texts)
        return [np.array(list(dict.fromkeys(i for i in each.ids if i))[:MOST_TOKENS], np.int64) for each in encoded]

    return Tokens(
        distinct([pair.summary for pair in pairs]),
        distinct([pair.name for pair in pairs]),
        distinct([pair.code[:READ_CHARACTERS] for pair in pairs]),
        [pair.project for pair in pairs],
    )


def fine_tuned(
    vectors: np.ndarray, tokens: Tokens, seconds: float, held: float = 0.0, seed: int = 0, log_seconds: float = 20.0
) -> np.ndarray:
    """``vectors`` after training for ``seconds``: in a batch, a sentence has to choose its code (InfoNCE), and back.

    The document is the mean of the unit vectors of its name and its code, or one of the two alone.

    Args:
        vectors: (pieces, size) float32, to begin with.
        tokens: Of the training pairs.
        seconds: How long to train.
        held: Weight of the squared distance from the first vectors, so that what the pairs do not say is kept.
        seed: Of the order of the pairs.
        log_seconds: Between two lines of the log.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    first = torch.tensor(vectors)
    table = torch.nn.Parameter(first.clone())
    optimizer = torch.optim.Adam([table], lr=RATE)
    began = shown = time.monotonic()
    losses: list[float] = []
    for step, batch in enumerate(_batches(tokens.projects, rng)):
        share = (time.monotonic() - began) / seconds
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 50) * (1 - share)
        sentences = _mean(table, [tokens.sentences[i] for i in batch])
        names = _mean(table, [tokens.names[i] for i in batch])
        code = _mean(table, [tokens.code[i] for i in batch])
        kept = torch.tensor([[rng.random() > 0.3] for _ in batch], dtype=names.dtype)
        documents = torch.nn.functional.normalize(kept * names + code, dim=1)
        scores = SCALE * sentences @ documents.T
        wanted = torch.arange(len(batch))
        entropy = torch.nn.functional.cross_entropy
        loss = entropy(scores, wanted) + entropy(scores.T, wanted)
        total = loss + held * (table - first).square().sum(1).mean() if held else loss
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(loss.item())
        if time.monotonic() - shown > log_seconds:
            shown = time.monotonic()
            print(f"step {step}, {shown - began:.0f} s, loss {np.mean(losses[-50:]):.3f}", flush=True)
    return np.asarray(table.detach())


def _mean(table: torch.Tensor, bags: list[np.ndarray]) -> torch.Tensor:
    """The unit vector of each bag's mean; 0 of an empty one."""
    lengths = np.array([len(bag) for bag in bags])
    offsets = torch.tensor(np.concatenate([[0], lengths.cumsum()[:-1]]))
    ids = torch.tensor(np.concatenate(bags))
    return torch.nn.functional.normalize(torch.nn.functional.embedding_bag(ids, table, offsets, mode="sum"), dim=1)


def _batches(projects: Sequence[str], rng: random.Random) -> Iterator[list[int]]:
    """Batches without end; each pair once in an epoch."""
    members = defaultdict(list)
    for place, project in enumerate(projects):
        members[project].append(place)
    while True:
        rows: list[list[int]] = []
        for places in members.values():
            rng.shuffle(places)
            rows += [places[begin : begin + TOGETHER] for begin in range(0, len(places), TOGETHER)]
        rng.shuffle(rows)
        epoch = [place for row in rows for place in row]
        for begin in range(0, len(epoch) - BATCH + 1, BATCH):
            yield epoch[begin : begin + BATCH]
