"""What an installation takes: disk and time of the plain install, and of each extra on top of it.

``python -m bench install [WHEEL]`` installs into an environment of its own, one extra after the other: packages that two
extras share are counted with the first of them. Times are of this machine and its connection to the index.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path

from bench.tables import show

ROOT = Path(__file__).parents[1]
# Extras of users; the others are for development.
EXTRAS = ("report", "alerts", "gguf", "postgres", "kubernetes", "torch")
MEGABYTE = 1_000_000


def main(arguments: list[str]) -> int:
    """Measure, and print a Markdown table."""
    package = arguments[0] if arguments else str(ROOT)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS) <= known.keys()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        before = _bytes(Path(place))
        for extra in ("", *EXTRAS):
            began = time.monotonic()
            pip = [f"{place}/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, f"{package}[{extra}]" if extra else package], check=True)  # noqa: S603
            now = _bytes(Path(place))
            rows.append(
                {
                    "install": f"`dobby-dagster[{extra}]`, on top" if extra else "`dobby-dagster`",
                    "disk, MB": round((now - before) / MEGABYTE),
                    "time, s": round(time.monotonic() - began),
                }
            )
            before = now
    show(f"Installed sizes, {sys.platform}, Python {sys.version.split()[0]}", rows)
    return 0


def _bytes(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())
