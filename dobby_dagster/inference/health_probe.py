"""The request that health checks send, to see whether tokenizer, chat template and generation work together."""

from __future__ import annotations

from dobby_dagster.inference.engine import Request
from dobby_dagster.inference.prompts import Prompt

CONTENT = 'def read(path):\n    with open(path, encoding="utf-8") as stream:\n        return stream.read()\n'
PROBE = Request("probe", CONTENT, "python")
PROBE_PROMPT = Prompt(id="probe", version=1, system="Summarize.")
