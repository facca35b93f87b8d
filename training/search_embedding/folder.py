"""The folder of the embedding: int8 vectors with a scale each, in the layout of model2vec."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer


def write(folder: Path, tokenizer: Tokenizer, vectors: np.ndarray) -> None:
    """Write ``model.safetensors``, ``tokenizer.json`` and ``config.json`` to ``folder``.

    Args:
        folder: Made if it is not there.
        tokenizer: Its identifiers are the rows of ``vectors``.
        vectors: (pieces, size) float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scales = np.maximum(np.abs(vectors).max(1), 1e-9) / 127
    tensors = {"embeddings": np.round(vectors / scales[:, None]).astype(np.int8), "weights": scales.astype(np.float32)}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": vectors.shape[1]}
    config["normalize"] = True
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
