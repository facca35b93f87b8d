"""Files are cut in a process that may be slow, large or dead without harm to anything else."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path, PurePath

import pytest

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.ingest.file_splitting import split
from dobby_dagster.ingest.piece import UnreadableError
from dobby_dagster.ingest.splitter_process import Splitter

PYTHON = "def f():\n    return 1\n"


def test_pieces_are_those_of_split() -> None:
    markdown = "---\ntitle: T\n---\n# Größe \U0001f389\n"
    with Splitter() as splitter:
        for file, text in {
            "a.py": PYTHON,
            "b.md": markdown,
            "c.txt": "x\u2028y\nz",
            "d.py": " ",
            "e.py": f"@overload\n{PYTHON}",
        }.items():
            assert splitter.pieces(PurePath(file), text) == split(PurePath(file), text)
        with pytest.raises(UnreadableError, match="not a notebook"):
            splitter.pieces(PurePath("a.ipynb"), "{")


@pytest.mark.slow
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


def test_a_process_that_does_not_start_is_an_error_and_no_file_is_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [place for place in sys.path if "site-packages" not in place])
    with pytest.raises(SourceError, match="the process that splits files does not start"), Splitter() as splitter:
        splitter.pieces(PurePath("a.py"), PYTHON)


def test_limits_of_the_caller_that_are_lower_are_kept() -> None:
    code = (
        "from pathlib import PurePath; from dobby_dagster.ingest.splitter_process import Splitter\n"
        f"with Splitter() as splitter: print(splitter.pieces(PurePath('a.py'), {PYTHON!r})[0].kind)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)),
    )  # fmt: skip
    assert answer.stdout == "function\n"
