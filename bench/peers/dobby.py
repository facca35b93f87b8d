"""Dobby's own backends, with the end of text ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Request
from dobby_dagster.inference.local.devices import place
from dobby_dagster.inference.local.generator import Generator, LoadRequest
from dobby_dagster.inference.local.generator_selection import load_generator
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster.inference.local.token_selection import Selector
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.slot_use import SlotUse


class Dobby:
    """With these settings of the model, and ``slots`` slots; generators are cached by the number of new tokens."""

    def __init__(self, slots: int, **model: Any) -> None:
        self._model = ModelSettings.model_validate({"device": "cpu", "quantization": "none"} | model)
        self._slots = slots
        self._folder: Path | None = None
        self._generators: dict[int, Generator] = {}

    def load(self, folder: Path) -> None:
        self._folder = folder
        self._generator(24)

    def _generator(self, new: int) -> Generator:
        assert self._folder is not None
        if new not in self._generators:
            inference = InferenceSettings(slots=self._slots, max_new_tokens=new, no_repeat_ngram=0)
            placement = place(self._model, reproducible=False)
            selector = Selector(inference, set(), lambda ids: "")
            folder = check_folder(self._folder)
            request = LoadRequest(folder, self._model, inference, placement, selector, 4_096, 0, SlotUse())
            self._generators[new] = load_generator(request).generator
        return self._generators[new]

    def run(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        sequences = [Sequence(Request("", ""), prompt) for prompt in prompts]
        finished = list(self._generator(new).run(sequences))
        assert len(finished) == len(prompts)
        return [sequence.output_ids for sequence in sequences]
