"""Examples as token identifiers, as the model reads and writes them in a run, and batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.engine import Request
from dobby_dagster.inference.local.prompt_encoding import Encoder
from dobby_dagster.inference.local.tokenizer import load_tokenizer
from dobby_dagster.inference.models.model_source import ModelSource
from dobby_dagster.inference.prompts import Prompt

# Sentences are cut to this many tokens, in training only.
SUMMARY_TOKENS = 48
# Batches are padded to a multiple of this.
LENGTH_STEP = 8
# Bytes that what the frozen layers give may take for all examples.
CACHED_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt with the sentence that should follow it.

    Attributes:
        tokens: (length,) int32 of both, with the token that ends an output.
        start: Where the sentence begins.
    """

    tokens: np.ndarray
    start: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples side by side, right-padded with zeros.

    Attributes:
        ids: (examples, length) int64.
        places: (losses,) int64: the positions in the flattened ``ids`` after which a token of a sentence should follow.
        targets: (losses,) int64: that token.
    """

    ids: np.ndarray
    places: np.ndarray
    targets: np.ndarray


def encoded(source: ModelSource, prompt: Prompt, limit: int, texts: Sequence[tuple[str, str, str]]) -> list[Example]:
    """An example for each content, its language, and the sentence that should follow.

    Args:
        source: The model whose tokenizer and chat template are used.
        prompt: Around the content.
        limit: Of the prompt in tokens, contents that are longer lose their middle.
        texts: Content, language and sentence.

    Raises:
        ModelError: The tokenizer or the template can't be used, or no token ends an output.
    """
    tokenizer = load_tokenizer(source)
    named = (tokenizer.token("eos_token"), *source.config.eos_token_id, *source.end_tokens())
    ends = [end for end in named if end is not None]
    if not ends:
        raise ModelError(f"{source.path}: no token ends an output", hint="its generation_config.json has to name one")
    requests = [Request(str(i), content, language) for i, (content, language, _) in enumerate(texts)]
    prompts = Encoder(tokenizer, limit).encode(requests, source.as_read(prompt))
    sentences = tokenizer.plain([sentence for _, _, sentence in texts])
    return [
        Example(np.array([*one.prompt_ids, *sentence[:SUMMARY_TOKENS], ends[0]], dtype=np.int32), len(one.prompt_ids))
        for one, sentence in zip(prompts, sentences, strict=True)
    ]


def batch(examples: Sequence[Example]) -> Batch:
    """Examples as one batch, with a loss at each token of their sentences."""
    length = -(-max(len(one.tokens) for one in examples) // LENGTH_STEP) * LENGTH_STEP
    ids = np.zeros((len(examples), length), dtype=np.int64)
    spoken = np.zeros((len(examples), length), dtype=bool)
    for row, one in enumerate(examples):
        ids[row, : len(one.tokens)] = one.tokens
        spoken[row, one.start - 1 : len(one.tokens) - 1] = True
    places = np.flatnonzero(spoken)
    return Batch(ids, places, ids.reshape(-1)[places + 1])


def grouped(lengths: Sequence[int], tokens: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Indices of the examples of each batch: neighbours in length, in random order.

    Args:
        lengths: Of the examples, in tokens.
        tokens: Of a batch, padding included; a longer example is a batch of its own.
        rng: Decides the order, and which examples of equal length are together.

    >>> [sorted(group.tolist()) for group in grouped([8, 8, 16], 16, np.random.default_rng(0))]
    [[2], [0, 1]]
    """
    padded = -(-np.asarray(lengths) // LENGTH_STEP) * LENGTH_STEP
    order = rng.permutation(len(padded))
    order = order[np.argsort(padded[order], kind="stable")]
    groups, begin = [], 0
    for end in range(1, len(order) + 1):
        if end == len(order) or padded[order[end]] * (end + 1 - begin) > tokens:
            groups.append(order[begin:end])
            begin = end
    return [groups[index] for index in rng.permutation(len(groups))]


def within(examples: Sequence[Example], bytes_per_token: int, seed: int) -> list[Example]:
    """As many examples, drawn at random, as ``CACHED_BYTES`` of states allow; all where they fit."""
    order = np.random.default_rng(seed).permutation(len(examples))
    sizes = np.cumsum([len(examples[index].tokens) * bytes_per_token for index in order])
    return [examples[index] for index in sorted(order[: int(np.searchsorted(sizes, CACHED_BYTES, "right"))])]
