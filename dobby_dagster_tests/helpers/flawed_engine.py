"""A real engine that fails on demand, in this process or in the processes of a system.

It fails on contents that hold a word of the file ``faults``, and notes every content that it infers in ``asked``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dobby_dagster
from dobby_dagster.domain.errors import InferenceError
from dobby_dagster.inference.engine import Answer, Engine, Failure, Request
from dobby_dagster.inference.prompts import Prompt

_CUSTOMIZE = """
from pathlib import Path
from dobby_dagster_tests.helpers.flawed_engine import Faults
Faults(Path({folder!r})).install()
"""


class Faults:
    """The faults of one system, and what its engine was asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "faults"
        if not self._folder.exists():
            self._folder.mkdir()
            (self._folder / "sitecustomize.py").write_text(_CUSTOMIZE.format(folder=str(folder)))
            self.set()

    @property
    def environment(self) -> dict[str, str]:
        """What the processes of a system have to be started with."""
        roots = [str(self._folder), str(Path(dobby_dagster.__file__).parents[1]), os.environ.get("PYTHONPATH")]
        return {"PYTHONPATH": os.pathsep.join(filter(None, roots))}

    def install(self, patch: Any = setattr) -> None:
        """Put the faults around every engine of this process; a test gives its ``monkeypatch.setattr``."""
        from dobby_dagster.pipeline.summarization.summarizer import Summarizer

        begin = Summarizer.__init__

        def init(self_: Any, store: Any, source: Any, engine: Engine, *rest: Any) -> None:
            begin(self_, store, source, FlawedEngine(engine, self), *rest)

        patch(Summarizer, "__init__", init)

    def set(self, *words: str) -> None:
        """Fail on contents with any of ``words``, from the next chunk on; on none where none is given."""
        (self._folder / "faults").write_text(" ".join(words))

    def hit(self, content: str) -> bool:
        """Whether ``content`` is to fail."""
        return any(word in content for word in (self._folder / "faults").read_text().split())

    def note(self, contents: Iterable[str]) -> None:
        """Remember what is inferred."""
        with (self._folder / "asked").open("a") as file:
            file.writelines(json.dumps(content) + "\n" for content in contents)

    def asked(self) -> list[str]:
        """Every content that was inferred since this was last called."""
        path = self._folder / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return [json.loads(line) for line in lines]


class FlawedEngine:
    """``engine``, but for the faults."""

    def __init__(self, engine: Engine, faults: Faults) -> None:
        self._engine, self._faults = engine, faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def infer(self, requests: Iterable[Request], prompt: Prompt) -> Iterator[Answer]:
        asked = {request.id: request for request in requests}
        self._faults.note(request.content for request in asked.values() if request.avoid is None)  # no second tries
        for answer in self._engine.infer(asked.values(), prompt):
            bad = self._faults.hit(asked[answer.id].content)
            yield Failure(answer.id, InferenceError("injected fault")) if bad else answer
