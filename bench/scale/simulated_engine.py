"""An engine of a given speed that computes nothing, so that only what stands around it is measured."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice

from dobby_dagster.inference.engine import Answer, EngineHealth, Generation, ModelInfo, Request
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.inference.slot_use import SlotUse


class SimulatedEngine:
    """Answers at a fixed rate, with a sentence that the quality gate accepts.

    Args:
        records_per_second: The rate; 0 answers at once.
        slots: Requests that it takes together.
    """

    def __init__(self, records_per_second: float, slots: int = 64) -> None:
        self.slots, self.slot_use = slots, SlotUse()
        self._pause = 1 / records_per_second if records_per_second else 0.0

    def load(self) -> ModelInfo:
        """Nothing to load."""
        return ModelInfo("simulated", "", "Simulated", "0", 1, 1, 1_000, "cpu", "", "float32", "none", 0.0)

    def infer(self, requests: Iterable[Request], prompt: Prompt) -> Iterator[Answer]:
        """Each group of ``slots`` requests after its time: a batch that decodes together ends together."""
        stream = iter(requests)
        while group := list(islice(stream, self.slots)):
            self.slot_use.change(len(group))
            time.sleep(self._pause * len(group))
            self.slot_use.change(-len(group))
            for request in group:
                text = f"It says {' '.join(request.content.split()[:6])} indeed."
                yield Generation(
                    request.id, text, 0.6065, -0.5, -1.0, "stop", len(request.content) // 4, 12, False, self._pause,
                    self._pause * len(group), 0.0,
                )  # fmt: skip

    def health(self) -> EngineHealth:
        """Always well."""
        return EngineHealth(True, 0.0, "simulated")

    def close(self) -> None:
        """Nothing to free."""
