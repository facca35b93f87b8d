"""Files are cut in a process that may be slow, large or dead without harm to anything else."""

import os
import signal
from pathlib import Path, PurePath

import pytest

from dobby_dagster.ingest.piece import UnreadableError
from dobby_dagster.ingest.split import split
from dobby_dagster.ingest.splitter import Splitter

PYTHON = "def f():\n    return 1\n"


def test_pieces_are_those_of_split() -> None:
    markdown = "---\ntitle: T\n---\n# Größe \U0001f389\n"
    with Splitter() as splitter:
        for file, text in {"a.py": PYTHON, "b.md": markdown, "c.txt": "x\u2028y\nz", "d.py": " "}.items():
            assert splitter.pieces(PurePath(file), text) == split(PurePath(file), text)
        with pytest.raises(UnreadableError, match="not a notebook"):
            splitter.pieces(PurePath("a.ipynb"), "{")


def test_a_text_that_takes_minutes_is_one_piece_and_the_next_one_is_cut() -> None:
    text = "a<" * 30_000
    with Splitter() as splitter:
        [piece] = splitter.pieces(PurePath("a.cs"), text)
        assert (piece.name, piece.kind, piece.language, piece.content) == ("", "file", "csharp", text)
        assert [piece.name for piece in splitter.pieces(PurePath("a.py"), PYTHON)] == ["f"]


def test_a_process_that_dies_costs_one_file_its_parts() -> None:
    with Splitter() as splitter:
        splitter.pieces(PurePath("a.py"), PYTHON)
        assert splitter._process is not None
        os.kill(splitter._process.pid, signal.SIGKILL)
        splitter._process.wait()
        assert [piece.kind for piece in splitter.pieces(PurePath("a.py"), PYTHON)] == ["file"]
        assert [piece.kind for piece in splitter.pieces(PurePath("a.py"), PYTHON)] == ["function"]
        process = splitter._process
    assert process.returncode is not None


def test_no_module_of_the_working_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "resource", "sitecustomize", "dobby_dagster"):
        (tmp_path / f"{name}.py").write_text("open('RUN', 'w')\n")
    monkeypatch.chdir(tmp_path)
    with Splitter() as splitter:
        assert [piece.name for piece in splitter.pieces(PurePath("a.py"), PYTHON)] == ["f"]
    assert not Path("RUN").exists()
