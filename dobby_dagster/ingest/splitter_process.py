"""Cutting files in a process of its own, which may take so much time and memory and no more.

A grammar can take minutes and gigabytes for a text that is made for it, and can crash; neither can be stopped from
inside the process. What comes back is JSON, since a process that read hostile text is not trusted, either.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import astuple
from pathlib import PurePath
from types import TracebackType
from typing import Any

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.ingest.file_splitting import split, whole
from dobby_dagster.ingest.piece import Piece, UnreadableError

SECONDS, CHARACTERS_A_SECOND = 5, 25_000  # of the processor, for a file; code takes a tenth
MEMORY_BYTES = 4 << 30
READY = b"ready\n"


class Splitter:
    """Cuts one file after another; to be closed, or used in a ``with`` statement."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Splitter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def pieces(self, path: PurePath, text: str) -> list[Piece]:
        """As :func:`~dobby_dagster.ingest.file_splitting.split`; the whole file where that takes too long or crashes.

        Raises:
            UnreadableError: The file is not what its name says.
            SourceError: The process does not start.
        """
        answer = self._ask(json.dumps([path.suffix, text]).encode())
        if answer is None:
            self.close()
            return whole(path, text)
        if "reason" in answer:
            raise UnreadableError(answer["reason"])
        return [Piece(*values) for values in answer["pieces"]]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, question: bytes) -> dict[str, Any] | None:
        self._process = self._process or _start()
        reader, writer = self._process.stdout, self._process.stdin
        if reader is None or writer is None:
            return None
        try:
            writer.write(question + b"\n")
            writer.flush()
            line = reader.readline()
        except BrokenPipeError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None


def _start() -> subprocess.Popen[bytes]:
    """A process that finds modules where this one does and never in the working folder, and gets no Ctrl-C."""
    places = [place for place in sys.path if place]
    code = f"import sys; sys.path[:] = {places!r}; from dobby_dagster.ingest.splitter_process import serve; serve()"
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    if process.stdout is None or process.stdout.readline() != READY:
        process.kill()
        process.communicate()
        raise SourceError(
            "the process that cuts files does not start",
            hint="does `python -c 'import tree_sitter_language_pack'` work?",
        )
    return process


def serve() -> None:
    """Answer questions on standard input, until it ends."""
    from tree_sitter_language_pack import get_parser

    get_parser("python")
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    for question in sys.stdin.buffer:
        ending, text = json.loads(question)
        _limit_time(len(text))
        answer: dict[str, Any]
        try:
            answer = {"pieces": [astuple(piece) for piece in split(PurePath(f"file{ending}"), text)]}
        except UnreadableError as error:
            answer = {"reason": str(error)}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _limit_time(characters: int) -> None:
    """Let the kernel end this process when it has spent what a file of this length may take."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + 1 + SECONDS + characters // CHARACTERS_A_SECOND
    _limit(resource.RLIMIT_CPU, most)


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
