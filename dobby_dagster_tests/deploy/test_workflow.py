"""The workflow of the hosted CI: valid, with few permissions, on every Python that the package names."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import yaml

from dobby_dagster_tests.helpers.deployment import ROOT, run

FILE = ".github/workflows/ci.yml"
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / FILE).read_text())
JOB: dict[str, Any] = WORKFLOW["jobs"]["test"]


def test_actionlint_finds_nothing() -> None:
    run("actionlint", FILE)


def test_zizmor_finds_nothing() -> None:
    run("zizmor", "--offline", "--pedantic", "--quiet", FILE)


def test_each_python_and_system_of_the_package_is_tested() -> None:
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    versions = [found[1] for each in classifiers if (found := re.fullmatch(r".*Python :: (3\.\d+)", each))]
    assert JOB["strategy"]["matrix"]["python"] == versions
    assert {system.split("-")[0] for system in JOB["strategy"]["matrix"]["os"]} == {"ubuntu", "macos"}


def test_it_runs_what_a_change_has_to_pass_and_may_only_read() -> None:
    assert any(step.get("run") == "bash .ci/run" for step in JOB["steps"])
    assert WORKFLOW["permissions"] == {}
    assert JOB["permissions"] == {"contents": "read"}


def test_actions_are_pinned_by_hash() -> None:
    used = [step["uses"] for step in JOB["steps"] if "uses" in step]
    assert used
    assert all(re.search(r"@[0-9a-f]{40}$", each) for each in used)
