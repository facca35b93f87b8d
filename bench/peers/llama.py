"""llama.cpp with 32 sequences in a batch, by the low-level interface of llama-cpp-python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.peers.gguf_file import gguf_file

_SEQUENCES = 32
_BATCH = 2048


class LlamaCpp:
    """``kind`` is how the weights are stored."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._file: Path | None = None
        self._model: Any = None

    def load(self, folder: Path) -> None:
        import llama_cpp

        llama_cpp.llama_log_set(_SILENT, None)
        llama_cpp.llama_backend_init()
        self._file = gguf_file(folder, self._kind)
        self._model = llama_cpp.llama_model_load_from_file(
            str(self._file).encode(), llama_cpp.llama_model_default_params()
        )

    def run(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        import os

        import llama_cpp

        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        parameters = llama_cpp.llama_context_default_params()
        longest = len(prompts[order[0]])
        parameters.n_seq_max = _SEQUENCES
        parameters.n_ctx = _SEQUENCES * (longest + new + 8)
        parameters.n_batch = parameters.n_ubatch = _BATCH
        parameters.n_threads = parameters.n_threads_batch = os.cpu_count() or 1
        context = llama_cpp.llama_init_from_model(self._model, parameters)
        batch = llama_cpp.llama_batch_init(_BATCH, 0, 1)
        outputs: list[list[int]] = [[] for _ in prompts]
        for begin in range(0, len(order), _SEQUENCES):
            self._group(context, batch, [(i, prompts[i]) for i in order[begin : begin + _SEQUENCES]], new, outputs)
        llama_cpp.llama_batch_free(batch)
        llama_cpp.llama_free(context)
        return outputs

    def _group(
        self, context: Any, batch: Any, group: list[tuple[int, list[int]]], new: int, outputs: list[list[int]]
    ) -> None:
        import llama_cpp
        import numpy as np

        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))

        def flush() -> None:
            if not batch.n_tokens:
                return
            if llama_cpp.llama_decode(context, batch):
                raise RuntimeError("llama_decode failed")
            for place in range(batch.n_tokens):
                if batch.logits[place]:
                    logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, place), (vocabulary,))
                    outputs[group[batch.seq_id[place][0]][0]].append(int(logits.argmax()))
            batch.n_tokens = 0

        def add(token: int, position: int, sequence: int, wanted: bool) -> None:
            if batch.n_tokens == _BATCH:
                flush()
            place = batch.n_tokens
            batch.token[place], batch.pos[place], batch.n_seq_id[place] = token, position, 1
            batch.seq_id[place][0], batch.logits[place] = sequence, wanted
            batch.n_tokens += 1

        for sequence, (_, prompt) in enumerate(group):
            for position, token in enumerate(prompt):
                add(token, position, sequence, position == len(prompt) - 1)
        flush()
        for step in range(new - 1):
            for sequence, (index, prompt) in enumerate(group):
                add(outputs[index][-1], len(prompt) + step, sequence, True)
            flush()


def _silent() -> Any:
    import llama_cpp

    return llama_cpp.llama_log_callback(lambda level, text, data: None)


try:
    _SILENT = _silent()
except ImportError:
    _SILENT = None
