"""``dobby adapt``: from ingested code to a model that is better on held-out files, or to nothing."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.inference import optional_packages
from dobby_dagster.inference.adaptation.training_run import TrainingRun
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.reliability import read_reliability
from dobby_dagster_tests.helpers.command import PROCESS, Dobby
from dobby_dagster_tests.helpers.documented_project import write_project
from dobby_dagster_tests.helpers.hostile_text import HOSTILE

ADAPT = ["adapt", "--out", "models/mine", "--model", SMALL_MODEL]


@pytest.fixture
def project(dobby: Dobby, tmp_path: Path) -> Path:
    """An ingested project, with names and contents that mean no good."""
    root = write_project(tmp_path / "project")
    for number, text in enumerate(HOSTILE.values()):
        hostile = f'def f_{number}(x):\n    """Return {text!r} for\\x1b]0;x\\x07 the project."""\n    return x + {number} + 1000\n'
        (root / f"module_0{number}.py").write_text(hostile)
    assert dobby("ingest", "project").code == 0
    return root


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_a_model_that_is_better_is_kept_and_summarises(dobby: Dobby) -> None:
    answer = dobby(*ADAPT, "--minutes", "1", "--json")
    assert answer.code == 0, answer.err
    made = answer.json
    assert made["better"] is True
    bleu = made["comparison"]["differences"][0]
    assert bleu["name"] == "BLEU-4"
    assert bleu["low"] > 0
    assert made["losses"][1] < made["losses"][0]
    folder = check_folder(Path("models/mine"))
    assert folder.card["adapted"]["base"] == SMALL_MODEL
    assert folder.card["adapted"]["learned"] > 100
    assert folder.calibration is not None
    assert made["recalibrated"] == (read_reliability(folder.path) is not None)
    assert "\x1b" not in Path("models/mine/README.md").read_text()
    assert not list(Path("models").glob(".*"))
    for engine in ("openvino", "packed", "transformers"):
        tried = dobby("try", "project/module_1.py", "--model", "models/mine", "--config", _engine(engine))
        assert tried.code == 0, tried.err
    assert dobby("preview", "--model", "models/mine").code == 0
    again = dobby(*ADAPT)
    assert (again.code, again.out) == (1, "")
    assert "exists already (--force replaces it)" in again.err


def _engine(name: str) -> str:
    file = Path(f"{name}.toml")
    file.write_text(f'[model]\nengine = "{name}"\n')
    return str(file)


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_a_model_that_is_not_better_is_thrown_away(dobby: Dobby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingRun, "_update", lambda self, one: None)  # it learns nothing
    answer = dobby(*ADAPT, "--minutes", "0.05")
    assert answer.code == 0, answer.err
    assert "The adapted model is not better by more than the noise, and was deleted" in answer.out
    assert list(Path("models").iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_a_killed_training_goes_on(dobby: Dobby) -> None:
    code = (
        "import dobby_dagster.adaptation.adaptation as a; a.SECONDS_BETWEEN_CHECKPOINTS = 0.0;"
        "from dobby_dagster.cli.app import process; process()"
    )
    line = [PROCESS[0], "-c", code, *ADAPT, "--minutes", "2"]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        checkpoint = Path("models/.mine.adapting/checkpoint.safetensors")
        while not checkpoint.exists():
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
    assert not Path("models/mine").exists()
    answer = dobby(*ADAPT, "--minutes", "0.05")
    assert answer.code == 0, answer.err
    assert "Going on with the training that was interrupted." in answer.err
    assert not list(Path("models").glob(".*"))


def test_too_few_documented_functions_are_named_and_nothing_changes(dobby: Dobby, tmp_path: Path) -> None:
    write_project(tmp_path / "project", files=2)
    assert dobby("ingest", "project").code == 0
    answer = dobby(*ADAPT)
    assert (answer.code, answer.out) == (1, "")
    assert "16 documented functions can't adapt a model" in answer.err
    assert not Path("models").exists()
    assert "0 documented functions" in dobby(*ADAPT, "nosuch/").err


def test_without_torch_the_error_says_how_to_install_it(
    dobby: Dobby, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional_packages, "find_spec", lambda name: None)
    answer = dobby(*ADAPT)
    assert (answer.code, answer.out) == (1, "")
    assert "training needs torch: torch is not installed: pip install torch" in answer.err
    assert not Path("models").exists()


@pytest.mark.usefixtures("project")
def test_a_folder_that_is_something_else_is_refused(dobby: Dobby) -> None:
    Path("models/mine").mkdir(parents=True)
    Path("models/mine/precious").write_text("")
    answer = dobby(*ADAPT, "--force")
    assert (answer.code, answer.out) == (1, "")
    assert "is no model that dobby adapt made" in answer.err
    assert [path.name for path in Path("models").rglob("*")] == ["mine", "precious"]


@pytest.mark.usefixtures("project")
def test_a_model_on_a_server_can_not_be_adapted(dobby: Dobby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOBBY_MODEL_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("DOBBY_MODEL_SERVED_NAME", "some")
    answer = dobby("adapt", "--out", "models/mine")
    assert (answer.code, answer.out) == (1, "")
    assert "the model some is on a server and can't be adapted" in answer.err
