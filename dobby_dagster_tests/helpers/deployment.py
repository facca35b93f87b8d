"""The files that deploy Dobby, rendered and parsed, and the tools that check them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ("single", "many", "beside-chart")
# Settings that are not named after DOBBY_: those of Dobby and of deploy/dagster-postgres.yaml.
UNPREFIXED = {"DATABASE_URL", "MODEL_PATH", "DAGSTER_HOME"}


def tool(name: str) -> str:
    """The path of a program, in this environment or on PATH; the test is skipped where it is missing."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip(f"`{name}` is not installed")
    return found


def run(name: str, *arguments: str | Path, given: str = "") -> str:
    """What a program prints about the repository; it must succeed."""
    done = subprocess.run(
        [tool(name), *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def rendered(overlay: str) -> str:
    """An overlay of ``deploy/kubernetes`` as kustomize renders it; skipped without kubectl."""
    return run("kubectl", "kustomize", f"deploy/kubernetes/overlays/{overlay}")


def objects(overlay: str) -> list[dict[str, Any]]:
    """The objects of an overlay."""
    return list(yaml.safe_load_all(rendered(overlay)))


def pods(overlay: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and specification of each pod in an overlay."""
    for each in objects(overlay):
        if "template" in each.get("spec", {}):
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """All containers of a pod, those that run before the others too."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def compose() -> dict[str, Any]:
    """``compose.yaml``, with its merges."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def values(given: Any) -> Iterator[Any]:
    """Every string and number in a document."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield name
            yield from values(value)
    elif isinstance(given, list):
        for value in given:
            yield from values(value)
    else:
        yield given
