"""How fast an engine is on one small content."""

from __future__ import annotations

import time

from dobby_dagster.inference.engine import Benchmark, Engine, Generation, Request
from dobby_dagster.inference.prompts import Prompt

CONTENT = 'def read(path):\n    with open(path, encoding="utf-8") as stream:\n        return stream.read()\n'
PROMPT = Prompt(id="summary", version=1, system="Summarize in one sentence what this code does.")


def timed(engine: Engine, requests: int) -> Benchmark:
    """Time so many like requests."""
    engine.load()
    asked = [Request(str(i), CONTENT, "python") for i in range(requests)]
    began = time.perf_counter()
    answers = [answer for answer in engine.infer(asked, PROMPT) if isinstance(answer, Generation)]
    seconds = time.perf_counter() - began
    tokens = sum(answer.output_tokens or 0 for answer in answers)
    return Benchmark(len(answers), seconds, len(answers) / seconds * 60, tokens / seconds)
