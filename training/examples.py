"""The corpus as examples for :mod:`training.finetune`: token identifiers, packed on disk.

python -m training.examples --corpus build/corpus --base build/base --out build/examples
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerFast

from dobby_dagster.inference.prompts import CUT, truncate_middle
from training.balance import balanced
from training.corpus.pair import Pair, read
from training.packing import is_copied, kinds_of_tokens
from training.tokenizer import CODE, SUMMARY

CODE_TOKENS = 192
SUMMARY_TOKENS = 48
# Pairs that come a second time with their documentation in place, as most records have it.
DOCUMENTED_SHARE = 0.35
CHARACTERS = 3_000
PART = 4_000


def examples_of(pairs: Sequence[Pair], seed: int) -> Iterator[tuple[str, str, float]]:
    """Code, sentence, and how often it comes in an epoch: every pair without documentation, a share with it as well."""
    rng = random.Random(seed)
    for pair, often in zip(pairs, balanced(pairs).tolist(), strict=True):
        yield pair.code, pair.summary, often
        if pair.documentation and rng.random() < DOCUMENTED_SHARE:
            yield pair.documented, pair.summary, often


def pack(
    examples: Sequence[tuple[str, str, float]], tokenizer: PreTrainedTokenizerFast, seed: int
) -> dict[str, np.ndarray]:
    """Examples ``<|code|> code <|summary|> sentence <|end|>`` one after another, in random order.

    Returns:
        What :class:`training.batches.Examples` reads.
    """
    backend = tokenizer.backend_tokenizer
    code_id, summary_id = (tokenizer.convert_tokens_to_ids(token) for token in (CODE, SUMMARY))
    cut = backend.encode(CUT, add_special_tokens=False).ids
    backend.encode_special_tokens = True
    order = random.Random(seed).sample(range(len(examples)), len(examples))
    flat: list[np.ndarray] = []
    starts, offsets, often, copied = [], [0], [], []
    for begin in range(0, len(order), PART):
        part = [examples[index] for index in order[begin : begin + PART]]
        codes = backend.encode_batch_fast([code[:CHARACTERS] for code, _, _ in part], add_special_tokens=False)
        sentences = backend.encode_batch_fast([sentence for _, sentence, _ in part], add_special_tokens=False)
        for code, sentence, (_, _, times) in zip(codes, sentences, part, strict=True):
            body, _ = truncate_middle(code.ids, CODE_TOKENS, cut)
            ids = [code_id, *body, summary_id, *sentence.ids[:SUMMARY_TOKENS], tokenizer.eos_token_id]
            tokens = np.array(ids, dtype=np.uint16)
            starts.append(len(body) + 2)
            offsets.append(offsets[-1] + len(ids))
            often.append(times)
            copied.append(is_copied(tokens, starts[-1]))
            flat.append(tokens)
    return {
        "tokens": np.concatenate(flat),
        "offsets": np.array(offsets, dtype=np.int64),
        "starts": np.array(starts, dtype=np.int32),
        "often": np.array(often, dtype=np.float32),
        "copied": np.array(copied),
        "kinds": kinds_of_tokens(tokenizer).astype(np.int8),
    }


def main() -> None:
    """Parse the command line and pack training and validation examples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--base", type=Path, default=Path("build/base"))
    parser.add_argument("--out", type=Path, default=Path("build/examples"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.base)
    for role in ("train", "validation"):
        pairs = [pair for name in (role, f"kinds.{role}") for pair in _pairs(arguments.corpus / f"{name}.jsonl")]
        if role == "validation":
            examples = [(pair.code, pair.summary, 1.0) for pair in pairs]
        else:
            examples = list(examples_of(pairs, arguments.seed))
        packed = pack(examples, tokenizer, arguments.seed)
        np.savez(arguments.out / f"{role}.npz", **packed)
        print(f"{role}: {len(packed['starts']):,} examples, {len(packed['tokens']):,} tokens")


def _pairs(file: Path) -> list[Pair]:
    return read(file) if file.exists() else []


if __name__ == "__main__":
    main()
