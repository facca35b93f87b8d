"""The forward pass by OpenVINO: prefill of prompts packed end to end, and decoding of one token per slot."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from openvino import Core, Shape, Tensor

from dobby_dagster.inference.models.mapped_weights import MappedWeights
from dobby_dagster.inference.openvino.openvino_graph import Graph

# Compiled kernels that are cached by shape. The library caches thousands, and memory grows by 7 MB with every hundred
# records of other lengths; with this limit it stays constant, at the same speed.
_KERNELS_KEPT = 100
# int8: activations are quantized dynamically, in groups of this many numbers.
_GROUP = 128


class PagedSlots:
    """``rows`` slots of ``columns`` tokens, each in its own pages.

    Attributes:
        caches: By the graph's inputs for keys and values: (pages, key-value heads, tokens of a page, head size).
        pages: The block table, (rows, pages of a slot) int32: which pages hold a slot's tokens, in order.
    """

    def __init__(self, inputs: Sequence[Any], rows: int, columns: int) -> None:
        size = inputs[0].get_partial_shape()[2].get_length()
        count = -(-columns // size)
        self.rows, self.columns, self.page = rows, count * size, size
        self.pages = np.arange(rows * count, dtype=np.int32).reshape(rows, count)
        self.caches: dict[str, Any] = {}
        for each in inputs:
            _, *rest = each.get_partial_shape()
            tensor = Tensor(each.element_type, Shape([rows * count, *(part.get_length() for part in rest)]))
            tensor.data.fill(0)  # NaN would spread even from tokens that are masked
            self.caches[each.get_any_name()] = tensor

    def reshaped(self, rows: int, columns: int) -> PagedSlots | None:
        """The same pages as other slots; None where there are too few.

        What was freed for slots of another size and taken again left gaps: twice the memory after 2,000 records.
        """
        count = -(-columns // self.page)
        if rows * count > next(iter(self.caches.values())).shape[0]:
            return None
        other = copy(self)
        other.rows, other.columns = rows, count * self.page
        other.pages = np.arange(rows * count, dtype=np.int32).reshape(rows, count)
        return other

    def move(self, source: int, target: int, length: int) -> None:
        """Exchange the pages of two slots; nothing is copied."""
        self.pages[[source, target]] = self.pages[[target, source]]

    def clear(self, slot: int) -> None:
        """Set a slot to zero; needed where it may hold NaN."""
        for tensor in self.caches.values():
            tensor.data[self.pages[slot]] = 0


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of the ``length`` tokens that several prompts begin with: whole pages, by the graph's inputs."""

    length: int
    pages: dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class CompiledGraph:
    """OpenVINO's compiled model, and the weights that it refers to without a copy."""

    model: Any
    weights: MappedWeights


class OpenVinoNetwork:
    """See :class:`~dobby_dagster.inference.local.network.Network`.

    Args:
        compiled: From :func:`compile_graph`; several networks may share it.
    """

    batch_invariant = False

    def __init__(self, compiled: CompiledGraph) -> None:
        self._request = compiled.model.create_infer_request()
        self._weights = compiled.weights
        self._caches = [each for each in compiled.model.inputs if "_cache." in each.get_any_name()]
        self._bound: PagedSlots | None = None

    def slots(self, rows: int, columns: int) -> PagedSlots:
        """See :class:`~dobby_dagster.inference.local.network.Network`."""
        return PagedSlots(self._caches, rows, columns)

    def prefix(self, ids: Sequence[int]) -> Prefix:
        """See :class:`~dobby_dagster.inference.local.network.Network`."""
        slots = self.slots(1, len(ids))
        self.prefill([ids], slots, 0)
        return Prefix(len(ids), {name: tensor.data.copy() for name, tensor in slots.caches.items()})

    def prefill(
        self, prompts: Sequence[Sequence[int]], slots: PagedSlots, first: int, prefix: Prefix | None = None
    ) -> np.ndarray:
        """See :class:`~dobby_dagster.inference.local.network.Network`."""
        rows = np.arange(first, first + len(prompts))
        begin = 0
        if prefix:
            begin = prefix.length
            for name, pages in prefix.pages.items():
                slots.caches[name].data[slots.pages[rows, : len(pages)]] = pages
        lengths = np.array([len(prompt) for prompt in prompts])
        ids = np.fromiter((token for prompt in prompts for token in prompt), np.int64, lengths.sum())
        return self._pass(ids, lengths, np.full(len(prompts), begin), rows, slots)

    def decode(self, tokens: Sequence[int], positions: Sequence[int], slots: PagedSlots) -> np.ndarray:
        """See :class:`~dobby_dagster.inference.local.network.Network`."""
        rows = np.arange(len(tokens))
        return self._pass(np.array(tokens), np.ones_like(rows), np.array(positions), rows, slots)

    def _pass(
        self, ids: np.ndarray, lengths: np.ndarray, past: np.ndarray, rows: np.ndarray, slots: PagedSlots
    ) -> np.ndarray:
        """Append tokens to slots, and give the logits of each one's next token, (rows, vocabulary) float32.

        Args:
            ids: (tokens,) all new tokens, end to end.
            lengths: (rows,) how many of these each slot gets.
            past: (rows,) how many tokens each slot holds already.
            rows: The slots.
            slots: Their memory.
        """
        ends, held = lengths.cumsum(), past + lengths
        pages = -(-held // slots.page)
        inside = np.arange(slots.pages.shape[1]) < pages[:, None]
        values = {
            "input_ids": ids.astype(np.int64),
            "position_ids": np.arange(ends[-1]) + np.repeat(past - ends + lengths, lengths),
            "sampled_tokens_indices": ends - 1,
            "past_lens": past.astype(np.int32),
            "subsequence_begins": np.concatenate([[0], ends]).astype(np.int32),
            "block_indices": slots.pages[rows][inside],
            "block_indices_begins": np.concatenate([[0], pages.cumsum()]).astype(np.int32),
            "max_context_len": np.array(held.max(), np.int32),
        }
        if self._bound is not slots:
            for name, tensor in slots.caches.items():
                self._request.set_tensor(name, tensor)
            self._bound = slots
        for name, value in values.items():
            self._request.set_tensor(name, Tensor(value))
        self._request.infer()
        self._weights.require_unchanged()
        logits: np.ndarray = self._request.get_output_tensor(0).data
        return logits


def compile_graph(graph: Graph, dtype: str, *, streams: int, threads: int) -> CompiledGraph:
    """Compile for the CPU.

    Args:
        graph: From :func:`~dobby_dagster.inference.openvino.openvino_graph.build_graph`.
        dtype: ``bfloat16`` or ``float32``, of computation, keys and values.
        streams: Networks that will run in parallel.
        threads: In total.
    """
    precision = {"bfloat16": "bf16", "float32": "f32"}[dtype]
    model = Core().compile_model(
        graph.model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": precision,
            "KV_CACHE_PRECISION": precision,
            "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS_KEPT,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP,
            # Several processes would be pinned to the same cores.
            "ENABLE_CPU_PINNING": False,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads,
        },
    )
    return CompiledGraph(model, graph.weights)
