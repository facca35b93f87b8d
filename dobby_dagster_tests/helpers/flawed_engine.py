"""Faults for the engine of a system that runs in processes of its own.

The engine is the real one; what is put around it makes it fail on contents that hold a word of the file ``faults``,
and notes every content that it is asked for in the file ``asked``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

_CUSTOMIZE = """
import json, pathlib
from dobby_dagster.pipeline.summarization import summarizer

FOLDER = pathlib.Path({folder!r})
begin = summarizer.Summarizer.__init__


class Flawed:
    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def infer(self, requests, prompt):
        from dobby_dagster.domain.errors import InferenceError
        from dobby_dagster.inference.engine import Failure

        asked = {{request.id: request for request in requests}}
        with (FOLDER / "asked").open("a") as file:
            file.writelines(json.dumps(request.content) + chr(10) for request in asked.values())
        words = (FOLDER / "faults").read_text().split()
        for answer in self._engine.infer(asked.values(), prompt):
            bad = any(word in asked[answer.id].content for word in words)
            yield Failure(answer.id, InferenceError("injected fault")) if bad else answer


def init(self, store, engine, *rest):
    begin(self, store, Flawed(engine), *rest)


summarizer.Summarizer.__init__ = init
"""


class Faults:
    """The faults of one system, and what its engine was asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "faults"
        self._folder.mkdir()
        (self._folder / "sitecustomize.py").write_text(_CUSTOMIZE.format(folder=str(self._folder)))
        self.set()

    @property
    def environment(self) -> dict[str, str]:
        """What the system has to be started with."""
        return {"PYTHONPATH": os.pathsep.join(filter(None, [str(self._folder), os.environ.get("PYTHONPATH")]))}

    def set(self, *words: str) -> None:
        """Fail on contents with any of ``words``, from the next chunk on; on none where none is given."""
        (self._folder / "faults").write_text(" ".join(words))

    def asked(self) -> list[str]:
        """Every content that was inferred since this was last called."""
        path = self._folder / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return [json.loads(line) for line in lines]
