"""The tokenizer and the packed examples, from the corpus.

python -m training.prepare --corpus build/corpus --out build/packed
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerFast

from training.corpus.pair import read
from training.packing import pack
from training.tokenizer import train_tokenizer


def main() -> None:
    """Parse the command line, train the tokenizer and pack both sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--out", type=Path, default=Path("build/packed"))
    parser.add_argument("--vocabulary", type=int, default=8_192)
    parser.add_argument("--tokenizer", type=Path, help="a model's folder: its tokenizer, instead of a new one")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pairs = read(arguments.corpus / "train.jsonl")
    if arguments.tokenizer:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.tokenizer)
    else:
        tokenizer = train_tokenizer(random.Random(0).sample(pairs, min(60_000, len(pairs))), arguments.vocabulary)
    tokenizer.save_pretrained(arguments.out / "tokenizer")
    for role, chosen in (("train", pairs), ("validation", read(arguments.corpus / "validation.jsonl"))):
        packed = pack(chosen, tokenizer, seed=0)
        np.savez_compressed(arguments.out / f"{role}.npz", **packed)
        print(f"{role}: {len(packed['starts']):,} examples, {len(packed['tokens']):,} tokens")


if __name__ == "__main__":
    main()
