"""What runs without the large packages: OpenVINO needs no torch, and what needs it says so."""

import platform
import subprocess
import sys

import pytest

from dobby_dagster.inference.optional_packages import missing

PROGRAM = """
import sys
sys.modules |= {"torch": None, "transformers": None}  # as if they were not installed
from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Request
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.prompts import PromptLibrary

def engine(**changed):
    model = ModelSettings(path="models/dobby-code-11m", engine=changed.pop("engine", "auto"))
    return LocalEngine(find_model(model), model, InferenceSettings(**changed))

request = Request("1", "def read(path):\\n    return open(path).read()", "python")
[found] = engine().infer([request], PromptLibrary.load().get("summary"))
print(found.text)
for options in ({"temperature": 0.5}, {"engine": "packed"}, {"engine": "transformers"}, {"reproducible": True}):
    try:
        engine(**options).load()
    except ModelError as error:
        print(error.message)
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="OpenVINO is for x86-64")
def test_without_torch_openvino_runs_and_the_rest_names_what_is_missing() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    summary, *errors = ended.stdout.splitlines()
    assert len(summary.split()) >= 3
    assert len(errors) == 4
    assert all("pip install torch" in error for error in errors)


def test_missing_packages_are_named_with_the_command_that_installs_them() -> None:
    assert missing("json", "os") == ""
    assert missing("nosuchpackage") == "nosuchpackage is not installed: pip install nosuchpackage"
    assert missing("nosuchpackage", "json", "other") == (
        "nosuchpackage and other are not installed: pip install nosuchpackage other"
    )
