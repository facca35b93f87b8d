"""A small embedding in a folder of its own: one axis for each word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers


def word_embedding(place: Path, words: Sequence[str], **tensors: np.ndarray) -> Path:
    """A folder of a static embedding that knows ``words``; each is an axis, unless ``tensors`` are given."""
    place.mkdir(parents=True, exist_ok=True)
    pieces = ["[UNK]", *words]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(r"[\W_]+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(place / "tokenizer.json"))
    axes = np.eye(len(pieces), dtype=np.float32)
    axes[0] = 0
    save_file(tensors or {"embeddings": axes}, place / "model.safetensors")
    return place
