"""Splits files in a process of its own, with limits on time and memory.

A grammar can take minutes and gigabytes for a text that was made for that, and can crash; neither can be stopped from
within the process. It answers in JSON, since a process that read hostile text is not trusted, either.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import PurePath
from types import TracebackType
from typing import Any

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.ingest.code.references import NOTHING, Import, References
from dobby_dagster.ingest.file_splitting import split, whole
from dobby_dagster.ingest.piece import Piece, UnreadableError

SECONDS, CHARACTERS_A_SECOND = 5, 25_000  # CPU time for a file; ordinary code takes a tenth of it
MEMORY_BYTES = 4 << 30
READY = b"ready\n"


class Splitter:
    """Splits one file after another; close it, or use it in a ``with`` statement."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Splitter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def pieces(self, path: PurePath, text: str) -> list[Piece]:
        """As :func:`~dobby_dagster.ingest.file_splitting.split`; the whole file if that takes too long or crashes.

        Raises:
            UnreadableError: The content does not fit the extension.
            SourceError: The process does not start.
        """
        answer = self._ask(json.dumps([path.suffix, text]).encode())
        if answer is None:
            self.close()
            return whole(path, text)
        if "reason" in answer:
            raise UnreadableError(answer["reason"])
        return [_piece(*values) for values in answer["pieces"]]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, request: bytes) -> dict[str, Any] | None:
        self._process = self._process or _start()
        reader, writer = self._process.stdout, self._process.stdin
        if reader is None or writer is None:
            return None
        try:
            writer.write(request + b"\n")
            writer.flush()
            line = reader.readline()
        except BrokenPipeError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None


def _piece(
    name: str, kind: str, language: str, content: str, line: int, metadata: Any, references: Any, of_file: Any
) -> Piece:
    return Piece(name, kind, language, content, line, metadata, _references(*references), _references(*of_file))


def _references(
    calls: list[str], bases: list[str], fields: list[list[str]], imports: list[list[str]], stub: bool
) -> References:
    if not (calls or bases or fields or imports or stub):
        return NOTHING
    pairs = tuple((name, typed) for name, typed in fields)
    return References(tuple(calls), tuple(bases), pairs, tuple(Import(*values) for values in imports), stub)


def _start() -> subprocess.Popen[bytes]:
    """A process with this one's module search path without the working folder, which Ctrl-C does not reach."""
    folders = [folder for folder in sys.path if folder]
    code = f"import sys; sys.path[:] = {folders!r}; from dobby_dagster.ingest.splitter_process import serve; serve()"
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
            "the process that splits files does not start",
            hint="does `python -c 'import tree_sitter_language_pack'` work?",
        )
    return process


def serve() -> None:
    """Answer requests on standard input, until it ends."""
    from tree_sitter_language_pack import get_parser

    get_parser("python")
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    for request in sys.stdin.buffer:
        extension, text = json.loads(request)
        _limit_time(len(text))
        answer: dict[str, Any]
        try:
            answer = {"pieces": [_values(piece) for piece in split(PurePath(f"file{extension}"), text)]}
        except UnreadableError as error:
            answer = {"reason": str(error)}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _values(piece: Piece) -> list[Any]:
    """What :func:`_piece` takes; ``dataclasses.astuple`` copies every text, which takes as long as splitting."""
    own = [piece.name, piece.kind, piece.language, piece.content, piece.line, dict(piece.metadata)]
    return [*own, _listed(piece.references), _listed(piece.of_file)]


def _listed(references: References) -> list[Any]:
    imports = [[each.module, each.name, each.alias] for each in references.imports]
    return [references.calls, references.bases, references.fields, imports, references.stub]


def _limit_time(characters: int) -> None:
    """Let the kernel kill this process once it has used the CPU time that a file of this length may take."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + 1 + SECONDS + characters // CHARACTERS_A_SECOND
    _limit(resource.RLIMIT_CPU, most)


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
