"""A GGUF file's tensors as numbers: dequantized by the package ``gguf``, by Hugging Face's names and in its order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.gguf_config import ROTARY_FACTORS
from dobby_dagster.inference.models.gguf_header import GgufHeader, TensorPlace
from dobby_dagster.inference.models.model_config import ModelConfig
from dobby_dagster.inference.models.model_source import Framework

_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
_LAYER = re.compile(r"blk\.(0|[1-9]\d*)\.(\w+)\.(weight|bias)")
# Numbers that are dequantized at once: the package makes several arrays of this size on its way.
_AT_ONCE = 1_000_000


def whole_name(name: str) -> str | None:
    """Hugging Face's name of a tensor; None where it has none.

    >>> whole_name("blk.3.attn_q.weight"), whole_name("output.weight"), whole_name("rope_freqs.weight")
    ('model.layers.3.self_attn.q_proj.weight', 'lm_head.weight', None)
    """
    layer = _LAYER.fullmatch(name)
    if layer:
        inner = _INNER.get(layer[2])
        return f"model.layers.{layer[1]}.{inner}.{layer[3]}" if inner else None
    begin, _, kind = name.partition(".")
    return f"{_OUTER[begin]}.weight" if begin in _OUTER and kind == "weight" else None


def read_tensor(file: Path, place: TensorPlace) -> np.ndarray:
    """A tensor in float32; in parts, so that little memory is taken beside it.

    Raises:
        ModelError: The file can't be read.
    """
    from gguf import GGMLQuantizationType, dequantize

    columns = place.shape[-1]
    rows = place.shape[0] if len(place.shape) == 2 else 1
    try:
        stored = np.memmap(file, np.uint8, "r", place.offset, (rows, place.bytes // rows))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} can't be read: {error}") from None
    values = np.empty((rows, columns), np.float32)
    step = max(1, _AT_ONCE // columns)
    with np.errstate(all="ignore"):  # a scale that is not a number: the engine finds what it leads to
        for row in range(0, rows, step):
            part = stored[row : row + step]
            values[row : row + step] = dequantize(part, GGMLQuantizationType(place.kind)).reshape(len(part), columns)
    return values.reshape(place.shape)


class GgufTensors:
    """See :class:`~dobby_dagster.inference.models.model_source.TensorSource`; tensors are read one by one.

    Args:
        file: A checked file.
        header: Its header.
        config: Of the model.
        framework: ``pt`` for tensors of torch, ``np`` for arrays of NumPy.
    """

    def __init__(self, file: Path, header: GgufHeader, config: ModelConfig, framework: Framework) -> None:
        self._file = file
        self._places = header.tensors
        self._framework = framework
        # llama.cpp keeps the two halves of each head interleaved, in Llama's queries and keys only.
        self._heads = (
            {"attn_q": config.num_heads, "attn_k": config.num_kv_heads} if config.model_type == "llama" else {}
        )
        self._names = {whole: name for name in header.tensors if (whole := whole_name(name))}
        self._unread = set(header.tensors) - {ROTARY_FACTORS}

    def __enter__(self) -> GgufTensors:
        """See :class:`TensorSource`."""
        return self

    def __exit__(self, *_: object) -> None:
        """See :class:`TensorSource`."""

    @property
    def names(self) -> set[str]:
        """See :class:`TensorSource`."""
        return set(self._names)

    @property
    def unused(self) -> set[str]:
        """See :class:`TensorSource`."""
        return self._unread

    def shape(self, name: str) -> tuple[int, ...]:
        """See :class:`TensorSource`."""
        return self._places[self._names[name]].shape

    def value(self, name: str) -> Any:
        """A weight in float32."""
        stored = self._names[name]
        self._unread.discard(stored)
        values = read_tensor(self._file, self._places[stored])
        heads = self._heads.get(stored.split(".")[-2])
        if heads:
            pairs = values.reshape(heads, values.shape[0] // heads // 2, 2, -1)
            values = np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)
        if self._framework == "np":
            return values
        import torch

        return torch.from_numpy(values)

    def int8(self, name: str) -> None:
        """GGUF's scales are for blocks of a row, never for whole rows."""

    def bfloat16_place(self, name: str) -> None:
        """Read by :meth:`value`: queries and keys of Llama lie in another order."""
