"""``dobby doctor`` says which engine runs, why, and what is missing to have the others."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from dobby_dagster.cli import engine_tables
from dobby_dagster.cli.engine_list import other_engines
from dobby_dagster.domain.settings import Settings
from dobby_dagster.inference import engine_choice
from dobby_dagster.inference.engine_features import ENGINES, Feature
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.local_engines import FASTEST


def test_the_table_is_shown_whole_and_loads_nothing(dobby: Dobby) -> None:
    answer = dobby("doctor", "--engines", "--json")
    assert answer.code == 0
    assert [engine["name"] for engine in answer.json["engines"]] == list(ENGINES)
    for engine in answer.json["engines"]:
        assert set(engine["features"]) == {str(feature) for feature in Feature}
    devices = {device["device"]: device for device in answer.json["devices"]}
    assert (devices["cpu"]["engine"], devices["cpu"]["available"]) == (FASTEST, True)
    shown = dobby("doctor", "--engines").out
    for text in (*ENGINES, "reproducible mode", "installed"):
        assert text in shown


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_word_is_broken(dobby: Dobby, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = dobby("doctor", "--engines").out
    words = {word for row in engine_tables.feature_rows("✓", "–") for cell in row for word in cell.split()}
    assert [word for word in words | set(ENGINES) if word not in shown] == []
    tables = [line for line in shown.splitlines() if line.startswith(("│", "┃", "┏", "└"))]
    assert {line for line in tables if len(line) > width} == set()


def test_a_command_that_installs_an_engine_can_be_copied(dobby: Dobby, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "pip install 'some-package-with-a-name-that-no-column-holds[extra]>=1.2'"
    monkeypatch.setattr(engine_tables, "missing", lambda *names: names and f"{names[0]} is not installed: {command}")
    lines = dobby("doctor", "--engines").out.splitlines()
    assert any(line.startswith("vllm: ") and line.endswith(command) for line in lines)


def test_what_the_settings_ask_for_counts(dobby: Dobby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOBBY_INFERENCE_REPRODUCIBLE", "true")
    [cpu] = [each for each in dobby("doctor", "--engines", "--json").json["devices"] if each["device"] == "cpu"]
    assert cpu["engine"] == "packed"
    assert cpu["others"]["openvino"] == "it has no reproducible mode"


def test_a_model_behind_a_url_has_one_engine(dobby: Dobby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOBBY_MODEL_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("DOBBY_MODEL_SERVED_NAME", "any")
    [device] = dobby("doctor", "--engines", "--json").json["devices"]
    assert (device["device"], device["engine"], device["others"]) == ("server", "server", {})


@pytest.mark.slow
def test_doctor_names_the_engine_and_the_others(dobby: Dobby) -> None:
    findings = {each["name"]: each["message"] for each in dobby("doctor", "--json").json}
    assert findings["engine"].startswith(FASTEST)
    assert "transformers" in findings["other engines"]


def test_what_is_missing_is_named_with_its_command(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_choice, "missing", lambda *names: f"{names[-1]} is not installed: pip install it")
    info = SimpleNamespace(device="cpu", dtype="float32", engine="openvino")
    said = other_engines(make_settings(model__engine=FASTEST), info)
    assert "not transformers: transformers is not installed: pip install it" in said
    assert said.startswith("no other can be used")


def test_the_engine_in_use_is_not_among_the_others(make_settings: Callable[..., Settings]) -> None:
    info = SimpleNamespace(device="cpu", dtype="float32", engine="mlx")
    assert " mlx: " not in other_engines(make_settings(model__engine="mlx"), info)
