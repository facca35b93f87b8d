"""transformers: ``generate`` as a careful user writes it, and ``pipeline`` as most do."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Generate:
    """Batches of ``size`` prompts of like length, padded on the left."""

    def __init__(self, dtype: str, device: str = "cpu", size: int = 32) -> None:
        self._dtype = dtype
        self._device = device
        self._size = size
        self._model: Any = None

    def load(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, self._dtype))
        self._model = model.to(self._device).eval()
        self._model.generation_config.eos_token_id = None

    def run(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        import torch

        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        outputs: list[list[int]] = [[] for _ in prompts]
        for begin in range(0, len(order), self._size):
            part = order[begin : begin + self._size]
            longest = len(prompts[part[0]])
            ids = torch.tensor([[0] * (longest - len(prompts[i])) + prompts[i] for i in part])
            mask = torch.tensor([[0] * (longest - len(prompts[i])) + [1] * len(prompts[i]) for i in part])
            with torch.inference_mode():
                made = self._model.generate(
                    input_ids=ids.to(self._device),
                    attention_mask=mask.to(self._device),
                    max_new_tokens=new,
                    min_new_tokens=new,
                    do_sample=False,
                    pad_token_id=0,
                )
            for place, index in enumerate(part):
                outputs[index] = made[place, longest:].tolist()
        return outputs


class ContinuousBatching:
    """transformers' own continuous batching, with keys and values in pages."""

    def __init__(self, dtype: str, device: str) -> None:
        self._dtype = dtype
        self._device = device
        self._model: Any = None

    def load(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, self._dtype))
        self._model = model.to(self._device).eval()

    def run(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        from transformers import GenerationConfig

        # No token ends an output: -1 is none.
        config = GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=-1, pad_token_id=0)
        made = self._model.generate_batch(inputs=prompts, generation_config=config, progress_bar=False)
        by_number = sorted(made.items(), key=lambda item: int(item[0].rsplit("_", 1)[-1]))
        return [list(output.generated_tokens) for _, output in by_number]


class Pipeline:
    """Batches of 16 texts in the order in which they come."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._pipeline: Any = None
        self._tokenizer: Any = None

    def load(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TextGenerationPipeline

        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, self._dtype)).eval()
        model.generation_config.eos_token_id = None
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
        self._pipeline = TextGenerationPipeline(model=model, tokenizer=self._tokenizer)

    def run(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        texts = [self._tokenizer.decode(prompt) for prompt in prompts]
        made = self._pipeline(
            texts, batch_size=16, add_special_tokens=False, max_new_tokens=new, do_sample=False,
            return_tensors=True,
        )  # fmt: skip
        return [answer[0]["generated_token_ids"][-new:] for answer in made]
