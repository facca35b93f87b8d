"""Settings: four sources, one validation, and errors that name the way out."""

import os
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import PromptError, SettingsError
from dobby_dagster.domain.settings_loader import load_settings, mask_credentials, setting_names
from dobby_dagster.inference.prompts import PromptLibrary


def test_later_sources_win_and_origins_are_known(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[inference]\nslots = 7\nmax_new_tokens = 9\n[model]\ndevice = "cpu"\n')
    environment = {"DOBBY_INFERENCE_SLOTS": "8", "DATABASE_URL": "mem://x", "MODEL_PATH": "m"}
    loaded = load_settings({"model.device": "cuda", "prompt.id": None}, file=file, environment=environment)
    assert loaded.settings.inference.slots == 8
    assert loaded.settings.inference.max_new_tokens == 9
    assert loaded.settings.model.device == "cuda"
    assert loaded.settings.model.path == "m"
    origins = {name: origin for name, _, origin, _ in loaded.rows()}
    assert origins["inference.slots"] == "environment, DOBBY_INFERENCE_SLOTS"
    assert origins["inference.max_new_tokens"] == str(file)
    assert origins["model.device"] == "argument"
    assert origins["prompt.id"] == "default"


def test_a_file_in_the_working_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "dobby.toml").write_text("[pipeline]\nchunk_size = 3\n")
    assert load_settings(environment={}).settings.pipeline.chunk_size == 3
    (tmp_path / "other.toml").write_text("[pipeline]\nchunk_size = 4\n")
    assert load_settings(environment={"DOBBY_CONFIG": "other.toml"}).settings.pipeline.chunk_size == 4


@pytest.mark.parametrize("service", ["DOBBY", "DOBBY_MONITOR", "DOBBY_DAGSTER_WEBSERVER"])
def test_what_kubernetes_says_of_services_is_no_setting(service: str) -> None:
    links = {
        f"{service}_SERVICE_HOST": "10.0.0.1", f"{service}_SERVICE_PORT": "3001", f"{service}_SERVICE_PORT_UI": "3001",
        f"{service}_PORT": "tcp://10.0.0.1:3001", f"{service}_PORT_3001_TCP": "tcp://10.0.0.1:3001",
        f"{service}_PORT_3001_TCP_PROTO": "tcp", f"{service}_PORT_3001_TCP_ADDR": "10.0.0.1",
    }  # fmt: skip
    assert load_settings(environment={**links, "DOBBY_MONITOR_HOST": "0.0.0.0"}).origins == {
        "monitor.host": "environment, DOBBY_MONITOR_HOST"
    }
    for name in set(links) - {f"{service}_SERVICE_HOST"}:
        with pytest.raises(SettingsError):
            load_settings(environment={name: links[name]})


def test_lists_come_from_the_environment_by_commas() -> None:
    loaded = load_settings(environment={"DOBBY_SOURCE_METADATA": "a, b", "DOBBY_INFERENCE_STOP": ";"})
    assert loaded.settings.source.metadata == ("a", "b")
    assert loaded.settings.inference.stop == (";",)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ({"inference.slots": 0}, {}, "inference.slots = 0 is invalid: must be greater than or equal to 1"),
        ({"inference.slot": 1}, {}, "argument: unknown setting 'inference.slot' (did you mean 'inference.slots'?)"),
        (
            {},
            {"DOBBY_FOO": "1"},
            "environment: unknown setting DOBBY_FOO (remove it; then dobby config lists all settings)",
        ),
        ({}, {"DOBBY_MODEL_DEVICES": "cpu"}, "environment: unknown setting DOBBY_MODEL_DEVICES (did you mean"),
        ({"database.url": "code.db"}, {}, "database.url = 'code.db' is invalid: must be sqlite:///PATH"),
        ({"database.url": "sqlite:///"}, {}, "needs a path"),
        ({"source.relation": "a b"}, {}, "must be letters, digits and underscores"),
        ({"model.device": "tpu"}, {}, "model.device = 'tpu' is invalid: must be 'auto', 'mps', 'cuda' or 'cpu'"),
        ({"source.metadata": "path"}, {}, "source.metadata = 'path' is invalid: must be a list"),
        ({}, {"DOBBY_MONITOR_PORT": "x"}, "monitor.port = 'x' is invalid: must be a valid integer (from environment"),
        ({"inference.slots": 0, "pipeline.batch_size": 0}, {}, "pipeline.batch_size = 0"),
    ],
)
def test_bad_values_are_named(arguments: dict, environment: dict, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(arguments, environment=environment)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slots = 3", "is outside a section"),
        ("[inference]\nslotz = 3", "dobby.toml: unknown setting 'inference.slotz' (did you mean 'inference.slots'?)"),
        ("[inference\n", "is not valid TOML"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "dobby.toml").write_text(text)
    with pytest.raises(SettingsError, match="dobby.toml") as caught:
        load_settings(environment={})
    assert message in str(caught.value)


def test_a_named_file_that_is_not_there_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"nope.toml can't be read"):
        load_settings(file=Path("nope.toml"), environment={})


def test_secrets_are_masked_everywhere() -> None:
    environment = {"DOBBY_DATABASE_AUTH": "geheim", "DATABASE_URL": "https://user:geheim@host:1"}
    loaded = load_settings(environment=environment)
    assert "geheim" not in str(loaded.rows())
    assert "geheim" not in repr(loaded.settings.database.auth)
    assert mask_credentials("https://host/a@b") == "https://host/a@b"
    with pytest.raises(SettingsError) as caught:
        load_settings({"database.auth": ["geheim"]}, environment={})
    assert "geheim" not in str(caught.value)


def test_every_setting_explains_itself() -> None:
    for name, kind in setting_names().items():
        assert kind.model_fields[name.split(".")[1]].description, name


NUMBERS = [
    name
    for name, kind in setting_names().items()
    if kind.model_fields[name.partition(".")[2]].annotation in (int, float)
]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e400", "9" * 30, "1" + "0" * 5_000])
def test_no_number_is_infinite_or_beyond_what_a_clock_can_hold(value: str) -> None:
    assert len(NUMBERS) > 20
    for name in NUMBERS:
        variable = f"DOBBY_{name.replace('.', '_').upper()}"
        with pytest.raises(SettingsError, match=name):
            load_settings(environment={variable: value})


def test_a_file_of_settings_is_read_within_limits(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    deep = tmp_path / "deep.toml"
    deep.write_text("a = " + "[" * 5_000 + "]" * 5_000)
    for path, message in (
        (pipe, "is a named pipe"), (deep, "nested too deep"), (Path("/dev/zero"), "larger than"), (tmp_path, "can't be read"),
        (Path("a" * 5_000), "can't be read"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=message):
            load_settings(file=path, environment={})
        with pytest.raises(PromptError, match=message):
            PromptLibrary.load(path)
    assert load_settings(file=Path("/dev/null"), environment={}).origins == {}
