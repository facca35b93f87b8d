"""Wheel and source distribution: complete, accepted by an index, and at work outside a checkout."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from dobby_dagster_tests.helpers.deployment import ROOT, tool

HOME = "https://github.com/dobby-dagster/dobby-dagster"
# What an index accepts of one file.
LARGEST = 100_000_000


def build(kind: str, source: Path, out: Path) -> Path:
    """The ``wheel`` or ``sdist`` of ``source``, by its build backend in this environment."""
    code = f"import sys, hatchling.build as b; print(b.build_{kind}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=source, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution of this checkout."""
    pytest.importorskip("hatch_fancy_pypi_readme", reason="the build backend is not installed")
    out = tmp_path_factory.mktemp("dist")
    return build("wheel", ROOT, out), build("sdist", ROOT, out)


def contents(wheel: Path) -> dict[str, int]:
    """Checksums of what a wheel holds, by name."""
    with zipfile.ZipFile(wheel) as file:
        return {each.filename: each.CRC for each in file.infolist()}


@pytest.mark.slow
def test_the_wheel_is_complete_and_small_enough(built: tuple[Path, Path]) -> None:
    wheel, sdist = built
    assert max(wheel.stat().st_size, sdist.stat().st_size) < LARGEST
    there = contents(wheel)
    tracked = subprocess.run(
        ["git", "ls-files", "dobby_dagster", "models"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    shipped = {
        name.replace("models/", "dobby_dagster/shipped/models/", 1) if name.startswith("models/") else name
        for name in tracked
    }
    assert shipped <= there.keys()
    assert {"dobby_dagster/py.typed", "dobby_dagster/shipped/dagster.yaml"} <= there.keys()
    assert {name.split("/")[0].partition("-")[0] for name in there} == {"dobby_dagster"}


@pytest.mark.slow
def test_the_source_distribution_builds_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, sdist = built
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    again = build("wheel", next(tmp_path.iterdir()), tmp_path)
    assert contents(again) == contents(wheel)


@pytest.mark.slow
def test_an_index_accepts_both_and_shows_links_that_hold(built: tuple[Path, Path]) -> None:
    subprocess.run([tool("twine"), "check", "--strict", *built], check=True, timeout=60)
    subprocess.run([tool("check-wheel-contents"), built[0]], cwd=ROOT, check=True, timeout=60)
    with zipfile.ZipFile(built[0]) as file:
        name = next(each for each in file.namelist() if each.endswith(".dist-info/METADATA"))
        described = email.message_from_bytes(file.read(name))
    links = re.findall(r"\]\(([^)\s]+)\)", str(described.get_payload()))
    relative = [link for link in links if not link.startswith(("https://", "#"))]
    assert relative == []
    own = [re.sub(rf"^({HOME}/blob|https://raw\.\S+?/dobby-dagster)/main/", "", link) for link in links]
    missing = [link for link in own if "://" not in link and not (ROOT / link.split("#")[0]).exists()]
    assert missing == []
    assert {each.split(", ")[0] for each in described.get_all("Project-URL", [])} >= {"Homepage", "Changelog", "Issues"}


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_folder(built: tuple[Path, Path], tmp_path: Path) -> None:
    """In an environment of its own, which finds the dependencies in this one."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    with zipfile.ZipFile(built[0]) as file:
        file.extractall(packages)
    packages.joinpath("dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    work = tmp_path / "work"
    work.mkdir()
    work.joinpath("code.py").write_text("def area(width, height):\n    return width * height\n")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DOBBY_", "DAGSTER_", "PYTHONPATH", "MODEL_PATH"))
    }

    def call(*words: str) -> str:
        done = subprocess.run(
            [home / "bin" / "python", "-P", "-m", *words],
            cwd=work, env=kept, capture_output=True, text=True, timeout=250, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = call("dobby_dagster.cli.app", "config", "--json")
    assert "model.path" in where
    call("dobby_dagster.cli.app", "init")
    call("dobby_dagster.cli.app", "ingest", "code.py")
    call("dobby_dagster.cli.app", "summarize")
    assert json.loads(call("dobby_dagster.cli.app", "status", "--json"))["completed"] == 2  # the function and its file
    call("dagster", "definitions", "validate", "-m", "dobby_dagster.definitions")
