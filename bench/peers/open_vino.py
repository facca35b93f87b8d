"""OpenVINO GenAI with its continuous batching, from a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.peers.gguf_file import gguf_file


class OpenVino:
    """``precision`` is the hint for computing, ``kind`` how the weights are stored."""

    def __init__(self, precision: str, kind: str) -> None:
        self._precision = precision
        self._kind = kind
        self._pipeline: Any = None

    def load(self, folder: Path) -> None:
        import openvino_genai

        scheduler = openvino_genai.SchedulerConfig()
        scheduler.max_num_batched_tokens = 2048
        scheduler.max_num_seqs = 64
        scheduler.cache_size = 1
        scheduler.dynamic_split_fuse = True
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            str(gguf_file(folder, self._kind)), scheduler, "CPU", {"INFERENCE_PRECISION_HINT": self._precision}
        )

    def run(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        import numpy as np
        import openvino
        import openvino_genai

        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = new, True, False
        config.apply_chat_template = False
        asked = [openvino.Tensor(np.array([prompt], dtype=np.int64)) for prompt in prompts]
        made = self._pipeline.generate(asked, [config] * len(asked))
        return [[int(token) for token in result.m_generation_ids[0]] for result in made]
