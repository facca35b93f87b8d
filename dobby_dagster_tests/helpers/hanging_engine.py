"""A fake engine in the processes of a system, which hangs in native code at contents that say so."""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dobby_dagster
from dobby_dagster.domain import heartbeat
from dobby_dagster.inference.engine import Answer, Request
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster_tests.helpers.fake_engine import FakeEngine

_CUSTOMIZE = """
from pathlib import Path
from dobby_dagster_tests.helpers.hanging_engine import install
install(Path({folder!r}))
"""
# A sleep that does not return: while it holds the interpreter's lock, and while it does not.
HANGS = {"HANGLOCKED": ctypes.PyDLL(None).sleep, "HANGFREE": ctypes.CDLL(None).sleep}


class HangingEngine(FakeEngine):
    """Hangs at a content with a word of ``HANGS``; takes a tenth of a second for one with ``SLOW``, token by token."""

    def __init__(self, asked: Path) -> None:
        super().__init__()
        self._asked_file = asked

    def infer(self, requests: Iterable[Request], prompt: Prompt) -> Iterator[Answer]:
        contents = {}

        def stream() -> Iterator[Request]:
            for request in requests:
                contents[request.id] = request.content
                yield request

        for answer in super().infer(stream(), prompt):
            content = contents[answer.id]
            with self._asked_file.open("a") as file:
                file.write(json.dumps(content) + "\n")
            for word, hang in HANGS.items():
                if word in content:
                    hang(100_000)
            if "SLOW" in content:
                time.sleep(0.1)
                heartbeat.token()
            yield answer


def hanging_environment(folder: Path) -> dict[str, str]:
    """What the processes of a system have to be started with to infer by this engine."""
    (folder / "hangs").mkdir(exist_ok=True)
    (folder / "hangs" / "sitecustomize.py").write_text(_CUSTOMIZE.format(folder=str(folder)))
    roots = [str(folder / "hangs"), str(Path(dobby_dagster.__file__).parents[1]), os.environ.get("PYTHONPATH")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, roots))}


def asked(folder: Path) -> list[str]:
    """Every content that was inferred, in order."""
    return [json.loads(line) for line in (folder / "inferred").read_text().splitlines()]


def install(folder: Path) -> None:
    """Use this engine in every run of this process."""
    from dobby_dagster.pipeline.summarization.summarizer import Summarizer

    begin = Summarizer.__init__

    def init(self_: Any, store: Any, source: Any, engine: Any, *rest: Any) -> None:
        begin(self_, store, source, HangingEngine(folder / "inferred"), *rest)

    Summarizer.__init__ = init  # type: ignore[method-assign]
