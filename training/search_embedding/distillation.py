"""A vector for each word piece, as a sentence encoder has it for the piece alone (model2vec's way)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

_BATCH = 512
# a / (a + p) of Arora, Liang and Ma, "A simple but tough-to-beat baseline for sentence embeddings", ICLR 2017.
RARE = 1e-3


def distilled(folder: Path, pieces: Sequence[str], size: int) -> np.ndarray:
    """(pieces, size) float32: means of the encoder's last layer, by their principal components; 0 of the first piece.

    Args:
        folder: A BERT encoder whose token vectors are averaged, with ``model.safetensors`` and ``tokenizer.json``.
        pieces: As :func:`training.search_embedding.vocabulary.chosen` gives them; a part of a word is read as such.
        size: How many components are kept.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    encode = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    ids = encode.get_vocab()
    rows = [[encode.cls_token_id, *_ids(encode, ids, piece), encode.sep_token_id] for piece in pieces]
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    found = np.zeros((len(pieces), model.config.hidden_size), np.float32)
    with torch.inference_mode():
        for begin in range(0, len(order), _BATCH):
            places = order[begin : begin + _BATCH]
            longest = max(len(rows[place]) for place in places)
            padded = torch.tensor([rows[p] + [encode.pad_token_id] * (longest - len(rows[p])) for p in places])
            mask = padded != encode.pad_token_id
            hidden = model(input_ids=padded, attention_mask=mask).last_hidden_state
            found[places] = ((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).numpy()
    centred = found - found[1:].mean(0)
    _, axes = np.linalg.eigh(centred[1:].T @ centred[1:])
    reduced = centred @ axes[:, ::-1][:, :size]
    reduced[0] = 0
    return np.ascontiguousarray(reduced / np.linalg.norm(reduced[1:], axis=1).mean(), np.float32)


def _ids(encode: Any, ids: dict[str, int], piece: str) -> list[int]:
    return [ids[piece]] if piece in ids else list(encode(piece, add_special_tokens=False)["input_ids"])


def rarity(tokenizer: Tokenizer, texts: Iterable[str]) -> np.ndarray:
    """The weight of each piece: less than 1 where it is frequent in ``texts``."""
    counts = Counter[int]()
    for text in texts:
        counts.update(tokenizer.encode(text).ids)
    share = np.array([counts[i] for i in range(tokenizer.get_vocab_size())], np.float32) / max(1, counts.total())
    return RARE / (RARE + share)
