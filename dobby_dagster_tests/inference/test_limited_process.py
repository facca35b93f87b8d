"""The process in which a model's tokenizer is tried."""

import os
import subprocess
import sys
import venv
from pathlib import Path

LOAD = """
import sys
from pathlib import Path
from dobby_dagster.inference.local.tokenizer import load_tokenizer
from dobby_dagster.inference.models.model_folder import check_folder
print(len(load_tokenizer(check_folder(Path(sys.argv[1]))).plain(["def f(): pass"])))
"""


def loads(python: Path | str, checkpoint: Path, folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    done = subprocess.run(
        [python, "-P", "-c", LOAD, checkpoint], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_imports_from_where_its_parent_does(qwen2: Path, tmp_path: Path) -> None:
    """Packages may lie anywhere on the path, as after ``pip install --target``."""
    venv.create(tmp_path / "bare", symlinks=True)
    assert loads(tmp_path / "bare" / "bin" / "python", qwen2, tmp_path) == "1\n"


def test_it_imports_nothing_from_the_working_directory(qwen2: Path, tmp_path: Path) -> None:
    planted = tmp_path / "here"
    planted.mkdir()
    (planted / "json.py").write_text("raise SystemExit(3)")
    assert loads(sys.executable, qwen2, planted) == "1\n"
