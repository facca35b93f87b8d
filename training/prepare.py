"""The tokenizer and the packed training set, from the corpus.

    python -m training.prepare --corpus build/corpus --out build/packed

``packed/{train,validation}.npz`` hold every example as one run of token identifiers
(``<|code|> code <|summary|> summary <|end|>``), its offsets, and where its summary begins.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from dobby_dagster.inference.prompts import CUT, truncate_middle
from training.corpus import Pair, documented

VOCABULARY = 8_192
CODE_TOKENS = 192
SUMMARY_TOKENS = 40
DOCUMENTED_SHARE = 0.25
SPECIAL = ["<|pad|>", "<|end|>", "<|code|>", "<|summary|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "<|code|>{{ message['content'] }}<|summary|>"
    "{% endif %}{% endfor %}"
)


def read(path: Path) -> list[Pair]:
    """The pairs of one JSON lines file."""
    with path.open() as stream:
        return [Pair(**json.loads(line)) for line in stream]


def train_tokenizer(pairs: list[Pair], vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A byte-level BPE with single digits, trained on code and summaries, with the prompt form as its chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for p in pairs for text in (p.code[:1_200], p.summary)), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=SPECIAL[2:],
        clean_up_tokenization_spaces=False,
        model_max_length=256,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def texts(pairs: list[Pair], rng: random.Random) -> Iterator[tuple[str, str]]:
    """Every pair without its docstring, and a share of them with it as well."""
    for pair in pairs:
        yield pair.code, pair.summary
        if rng.random() < DOCUMENTED_SHARE:
            code = documented(pair)
            if code is not None:
                yield code, pair.summary


def pack(pairs: list[Pair], tokenizer: PreTrainedTokenizerFast, seed: int) -> dict[str, np.ndarray]:
    """Token identifiers (uint16, flat), offsets (int64, one more than examples) and summary starts (int32)."""
    backend = tokenizer.backend_tokenizer
    code_id, summary_id = (tokenizer.convert_tokens_to_ids(t) for t in SPECIAL[2:])
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


def main() -> None:
    """Parse the command line, train the tokenizer and pack both sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--out", type=Path, default=Path("build/packed"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pairs = read(arguments.corpus / "train.jsonl")
    tokenizer = train_tokenizer(random.Random(0).sample(pairs, min(60_000, len(pairs))))
    tokenizer.save_pretrained(arguments.out / "tokenizer")
    for role, chosen in (("train", pairs), ("validation", read(arguments.corpus / "validation.jsonl"))):
        packed = pack(chosen, tokenizer, seed=0)
        np.savez_compressed(arguments.out / f"{role}.npz", **packed)
        print(f"{role}: {len(packed['starts']):,} examples, {len(packed['tokens']):,} tokens")


if __name__ == "__main__":
    main()
