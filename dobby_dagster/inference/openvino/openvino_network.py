"""A pass through a compiled graph: prompts end to end, then one token for every slot at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from openvino import Core, Shape, Tensor

from dobby_dagster.inference.openvino.openvino_graph import Graph

# Kernels kept for the shapes that were met. The library keeps thousands, and memory grows by 7 MB with every hundred
# records of other lengths; with so many it stays flat, and is no slower.
_KERNELS_KEPT = 100
# int8: activations are quantized as they come, in groups of so many numbers.
_GROUP = 128


class PagedSlots:
    """``rows`` slots of ``columns`` tokens; each has pages of its own.

    Attributes:
        caches: For each of the graph's inputs for keys and values, its pages.
        pages: (rows, pages of a slot) int32: which pages a slot's tokens are in, in their order.
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
            tensor.data.fill(0)  # a number that is none would spread from tokens that are not there yet
            self.caches[each.get_any_name()] = tensor

    def move(self, source: int, target: int, length: int) -> None:
        """Exchange the pages of two slots; nothing is copied, whatever their ``length``."""
        self.pages[[source, target]] = self.pages[[target, source]]

    def clear(self, slot: int) -> None:
        """Forget what a slot holds."""
        for tensor in self.caches.values():
            tensor.data[self.pages[slot]] = 0


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of the ``length`` tokens that all prompts begin with: whole pages, by the graph's inputs."""

    length: int
    pages: dict[str, np.ndarray]


class OpenVinoNetwork:
    """See :class:`~dobby_dagster.inference.local.network.Network`.

    Args:
        compiled: What :func:`compile_graph` gives; several networks may share it.
    """

    batch_invariant = False

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._caches = [each for each in compiled.inputs if "_cache." in each.get_any_name()]
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
        """Logits behind the last of each row's ``lengths`` new tokens, which come behind ``past`` others."""
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
        logits: np.ndarray = self._request.get_output_tensor(0).data
        return logits


def compile_graph(graph: Graph, dtype: str, *, streams: int, threads: int) -> Any:
    """Compile for the CPU.

    Args:
        graph: From :func:`~dobby_dagster.inference.openvino.openvino_graph.build_graph`.
        dtype: ``bfloat16`` or ``float32``: of sums, keys and values.
        streams: Networks that will run side by side.
        threads: Of all of them together.
    """
    precision = {"bfloat16": "bf16", "float32": "f32"}[dtype]
    return Core().compile_model(
        graph.model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": precision,
            "KV_CACHE_PRECISION": precision,
            "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS_KEPT,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP,
            # Processes beside each other would be pinned to the same cores.
            "ENABLE_CPU_PINNING": False,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads,
        },
    )
