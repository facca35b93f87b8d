"""A checkpoint as a graph of OpenVINO: the tokens of all prompts end to end, and attention over paged keys and values.

The graph has the patterns that OpenVINO's optimization passes look for, so that norms, rotary embeddings and
activations are fused. Attention is the operator that OpenVINO GenAI and vLLM use (PagedAttention, Kwon et al. 2023,
arXiv:2309.06180).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from openvino import Model, Node, Shape, Tensor, Type, opset13
from openvino.op import Constant, _PagedAttentionExtension

from dobby_dagster.inference.models.checkpoint import EMBEDDING, HEAD, Checkpoint
from dobby_dagster.inference.models.mapped_weights import CAN_MAP, MappedWeights
from dobby_dagster.inference.models.model_config import ModelConfig
from dobby_dagster.inference.models.model_source import ModelSource

# Inputs of the operator that are not used here, in its order, with the values that switch them off: sliding window,
# ALiBi slopes, then (after the longest context) score aggregation, cache rotation (three), sparse attention (three),
# sinks, adaptive eviction (four), and the bias between queries (two).
_NO_WINDOW = np.zeros((), np.int32)
_NO_SLOPES = np.zeros(0, np.float32)
_UNUSED = (
    np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32),
    np.zeros(0, np.float32), np.zeros((), np.int32), np.zeros((), np.int32), np.zeros((0, 0, 0, 0), np.float32),
    np.zeros((), np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32),
    np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.int32),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Graph:
    """A model to compile.

    Inputs: ``input_ids`` and ``position_ids`` (tokens,) int64; ``sampled_tokens_indices`` (prompts,) int64, the tokens
    whose logits are computed; ``past_lens`` (prompts,), ``subsequence_begins`` (prompts + 1,),
    ``block_indices`` (pages,), ``block_indices_begins`` (prompts + 1,) and ``max_context_len`` () int32; for each
    layer ``key_cache.N`` and ``value_cache.N`` (pages, key-value heads, tokens of a page, head size).
    Output: logits (prompts, vocabulary) float32.

    Attributes:
        weights: Where those of its weights lie that stay in their files.
    """

    model: Any
    weights: MappedWeights
    config: ModelConfig
    parameters: int
    bytes: int


def build_graph(source: ModelSource, dtype: str, *, int8: bool = False) -> Graph:
    """Read the weights and build the graph.

    Args:
        source: A checked model.
        dtype: ``bfloat16`` or ``float32``, of the weights.
        int8: Store matrices in int8, with a scale for each row.

    Raises:
        ModelError: A tensor is missing, or its shape does not fit the configuration.
    """
    with Checkpoint(source, "np") as checkpoint:
        return _Building(source.config, checkpoint, "int8" if int8 else dtype).graph()


class _Building:
    def __init__(self, config: ModelConfig, checkpoint: Checkpoint, kind: str) -> None:
        self._config = config
        self._checkpoint = checkpoint
        self._kind = kind
        self._bytes = 0
        self._parameters: list[Any] = []
        self._weights = MappedWeights()

    def graph(self) -> Graph:
        config = self._config
        ids, positions, self._sampled = (
            self._input(name, [-1], Type.i64) for name in ("input_ids", "position_ids", "sampled_tokens_indices")
        )
        names = ("past_lens", "subsequence_begins", "block_indices", "block_indices_begins")
        self._pages = [self._input(name, [-1], Type.i32) for name in names]
        self._longest = self._input("max_context_len", [], Type.i32)
        self._cosine, self._sine = self._angles(positions)
        embedding = self._matrix(EMBEDDING, config.vocab_size, config.hidden_size)
        x = opset13.gather(embedding, ids, _integers(0))
        for index in range(config.num_layers):
            x = self._layer(index, x)
        x = self._norm(x, "model.norm.weight")
        head = embedding if self._checkpoint.tied else self._matrix(HEAD, config.vocab_size, config.hidden_size)
        result = opset13.result(opset13.matmul(x, head, False, True))
        model = Model([result], self._parameters, "dobby")
        return Graph(model, self._weights, config, self._checkpoint.parameters, self._bytes)

    def _layer(self, index: int, x: Node) -> Node:
        prefix, heads, kv_heads = f"model.layers.{index}", self._config.num_heads, self._config.num_kv_heads
        hidden, intermediate = self._config.hidden_size, self._config.intermediate_size
        normed = self._norm(x, f"{prefix}.input_layernorm.weight")
        query = self._rotated(self._projection(normed, f"{prefix}.self_attn.q_proj", heads), heads)
        key = self._rotated(self._projection(normed, f"{prefix}.self_attn.k_proj", kv_heads), kv_heads)
        value = self._projection(normed, f"{prefix}.self_attn.v_proj", kv_heads)
        attended = self._attention(index, query, key, value)
        if index == self._config.num_layers - 1:  # of the other tokens only keys and values were needed
            x, attended = (opset13.gather(each, self._sampled, _integers(0)) for each in (x, attended))
        out = self._linear(attended, f"{prefix}.self_attn.o_proj.weight", hidden, heads * self._config.head_dim)
        x = opset13.add(x, out)
        normed = self._norm(x, f"{prefix}.post_attention_layernorm.weight")
        gate = opset13.swish(self._linear(normed, f"{prefix}.mlp.gate_proj.weight", intermediate, hidden))
        up = self._linear(normed, f"{prefix}.mlp.up_proj.weight", intermediate, hidden)
        down = self._linear(opset13.multiply(gate, up), f"{prefix}.mlp.down_proj.weight", hidden, intermediate)
        return opset13.add(x, down)

    def _attention(self, index: int, query: Node, key: Node, value: Node) -> Node:
        config = self._config
        caches = [self._input(f"{kind}_cache.{index}", [-1] * 4, Type.dynamic) for kind in ("key", "value")]
        scale, window, slopes, *unused = (
            opset13.constant(each) for each in (np.float32(config.head_dim**-0.5), _NO_WINDOW, _NO_SLOPES, *_UNUSED)
        )
        inputs = [query, key, value, *caches, *self._pages, scale, window, slopes, self._longest, *unused]
        attention = _PagedAttentionExtension([each.output(0) for each in inputs])
        heads = {"num_k_heads": config.num_kv_heads, "num_v_heads": config.num_kv_heads}
        for name, number in (heads | {"k_head_size": config.head_dim, "v_head_size": config.head_dim}).items():
            attention.get_rt_info()[name] = number  # the shape of a page, for the caches
        return attention.output(0)

    def _projection(self, x: Node, name: str, heads: int) -> Node:
        rows = heads * self._config.head_dim
        y = self._linear(x, f"{name}.weight", rows, self._config.hidden_size)
        return opset13.add(y, self._vector(f"{name}.bias", rows)) if self._config.qkv_bias else y

    def _linear(self, x: Node, name: str, rows: int, columns: int) -> Node:
        return opset13.matmul(x, self._matrix(name, rows, columns), False, True)

    def _norm(self, x: Node, name: str) -> Node:
        """Root mean square norm (Zhang and Sennrich 2019, arXiv:1910.07467)."""
        mean = opset13.reduce_mean(opset13.power(x, _number(2.0)), _integers([-1]), True)
        root = opset13.sqrt(opset13.add(mean, _number(self._config.rms_norm_eps)))
        normed = opset13.multiply(x, opset13.divide(_number(1.0), root))
        return opset13.multiply(self._vector(name, self._config.hidden_size), normed)

    def _angles(self, positions: Node) -> tuple[Node, Node]:
        """Cosine and sine of the rotary embedding (Su et al. 2021), (tokens, 1, 1, head size) each."""
        size = self._config.head_dim
        frequencies = self._config.rotary.rope_theta ** (-np.arange(0, size, 2, dtype=np.float32) / size)
        numbers = opset13.convert(opset13.unsqueeze(positions, _integers([1])), "f32")
        half = opset13.multiply(numbers, opset13.constant(frequencies.astype(np.float32)[None]))
        angles = opset13.concat([half, half], -1)
        return (
            opset13.reshape(opset13.cos(angles), _integers([-1, 1, 1, size]), False),
            opset13.reshape(opset13.sin(angles), _integers([-1, 1, 1, size]), False),
        )

    def _rotated(self, x: Node, heads: int) -> Node:
        size = self._config.head_dim
        x = opset13.reshape(x, _integers([-1, heads, 1, size]), False)
        begin, middle, end, step, axis = (_integers([n]) for n in (0, size // 2, 2**62, 1, 3))
        first, second = opset13.slice(x, begin, middle, step, axis), opset13.slice(x, middle, end, step, axis)
        rotated = opset13.concat([opset13.multiply(second, _number(-1.0)), first], -1)
        both = opset13.add(opset13.multiply(x, self._cosine), opset13.multiply(rotated, self._sine))
        return opset13.reshape(both, _integers([-1, heads * size]), False)

    def _input(self, name: str, shape: list[int], kind: Any) -> Node:
        made = opset13.parameter(shape, kind, name=name)
        made.output(0).set_names({name})
        self._parameters.append(made)
        return made

    def _vector(self, name: str, size: int) -> Node:
        return opset13.constant(self._checkpoint.read(name, size).astype(np.float32))

    def _matrix(self, name: str, rows: int, columns: int) -> Node:
        if self._kind == "int8":
            return self._int8(name, rows, columns)
        if self._kind == "float32":
            self._bytes += rows * columns * 4
            return opset13.constant(self._checkpoint.read(name, rows, columns).astype(np.float32))
        self._bytes += rows * columns * 2
        converted = opset13.convert(self._bfloat16(name, rows, columns), "f32")
        # The library's own mark of a conversion that it must not do in advance: it would keep the numbers in float32,
        # in twice the memory, beside the packed ones.
        converted.get_rt_info()["decompression_0"] = ""
        return converted

    def _bfloat16(self, name: str, rows: int, columns: int) -> Node:
        """A matrix of bfloat16, which the library packs into another layout: a copy would be read once, and kept."""
        # Rows of the embedding are looked up in the matrix itself. A copy can't change with the file.
        place = self._checkpoint.bfloat16_place(name, rows, columns) if CAN_MAP and name != EMBEDDING else None
        shape = Shape([rows, columns])
        if place is not None:
            return Constant(Tensor(self._weights.matrix(*place, rows, columns), shape, Type.bf16), shared_memory=True)
        # The library makes no constant of NumPy's bfloat16: the bits are copied as int16 into its own memory.
        tensor = Tensor(Type.bf16, shape)
        values = self._checkpoint.read(name, rows, columns).astype(ml_dtypes.bfloat16)
        np.copyto(tensor.data.view(np.int16), values.view(np.int16))
        return Constant(tensor, shared_memory=True)

    def _int8(self, name: str, rows: int, columns: int) -> Node:
        """A matrix as stored where it is int8 with a scale per row; else each row quantized to at most 127."""
        stored = self._checkpoint.int8(name, rows, columns)
        if stored is None:
            values = self._checkpoint.read(name, rows, columns).astype(np.float32)
            scale = np.maximum(np.abs(values).max(1, keepdims=True), 1e-12) / 127
            stored = np.rint(values / scale).astype(np.int8), scale
        whole, scale = stored
        self._bytes += whole.size + scale.size * 4
        converted = opset13.convert(opset13.constant(whole), "f32")
        return opset13.multiply(converted, opset13.constant(scale.astype(np.float32)))


def _integers(values: int | list[int]) -> Node:
    return opset13.constant(np.array(values, np.int64))


def _number(value: float) -> Node:
    return opset13.constant(np.float32(value))
