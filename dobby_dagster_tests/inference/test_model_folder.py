"""Model folders are untrusted: what is refused, and how it is said."""

import json
import shutil
from pathlib import Path

import pytest

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import DEFAULT_MODEL, InferenceSettings, ModelSettings
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.models.shipped_models import shelf
from dobby_dagster_tests.helpers.checkpoints import make_tokenizer


@pytest.fixture
def folder(qwen2: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(qwen2, tmp_path / "model"))


def load(folder: Path) -> None:
    LocalEngine(check_folder(folder), ModelSettings(device="cpu"), InferenceSettings()).load()


def config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_good_folder_is_loaded(folder: Path) -> None:
    load(folder)


def test_no_such_model() -> None:
    with pytest.raises(ModelError, match=r"there is no model 'dobby-code' \(did you mean"):
        find_model(ModelSettings(path="dobby-code"))


def test_the_shipped_models_are_found_by_name_and_from_anywhere() -> None:
    assert {DEFAULT_MODEL, SMALL_MODEL} <= shelf().keys()
    assert find_model(ModelSettings()).name == DEFAULT_MODEL
    for name in (DEFAULT_MODEL, SMALL_MODEL):
        assert find_model(ModelSettings(path=f"models/{name}")).path == find_model(ModelSettings(path=name)).path


def test_a_model_beside_those_that_ship_is_not_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dobby_dagster.inference.models.shipped_models.SHELVES", (folder.parent,))
    assert not check_folder(folder).shipped


def test_a_truncated_file(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model.safetensors is truncated: [\d,]+ of [\d,]+ bytes"):
        load(folder)
    file.write_bytes(b"\x10")
    with pytest.raises(ModelError, match="is truncated or not a safetensors file"):
        load(folder)
    file.write_bytes((8).to_bytes(8, "little") + b"notjson!")
    with pytest.raises(ModelError, match="malformed header"):
        load(folder)


def test_a_pickled_checkpoint(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pickled weights \(pytorch_model.bin\), which can run code"):
        load(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match="has no model.safetensors"):
        load(folder)


def test_a_tokenizer_that_does_not_fit(folder: Path) -> None:
    make_tokenizer(extra=40).save_pretrained(folder)
    with pytest.raises(ModelError, match="the tokenizer does not fit the model: its largest token is"):
        load(folder)


def test_a_tokenizer_that_is_broken_or_missing(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="is not a tokenizer: it holds no vocabulary"):
        load(folder)
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
    with pytest.raises(ModelError, match="the tokenizer can't be loaded"):
        load(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        load(folder)


def test_code_in_a_model_is_never_run(folder: Path) -> None:
    config(folder, auto_map={"AutoModelForCausalLM": "evil.Model"})
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="brings its own code"):
        load(folder)


def test_other_architectures_and_broken_configurations(folder: Path) -> None:
    config(folder, model_type="gpt2")
    with pytest.raises(ModelError, match=r"'gpt2' is not supported \(supported: Qwen2, Llama\)"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config.json can't be read"):
        load(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="does not hold a JSON object"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"has no config.json: it is not a model folder"):
        load(folder)


def test_weights_of_another_shape_or_missing(folder: Path) -> None:
    config(folder, hidden_size=128)
    with pytest.raises(ModelError, match="but the configuration says"):
        load(folder)
    config(folder, hidden_size=64, num_hidden_layers=3, layer_types=["full_attention"] * 3)
    with pytest.raises(ModelError, match="weights are missing"):
        load(folder)


def test_sharded_weights(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    from safetensors import safe_open

    with safe_open(folder / "model-00001-of-00001.safetensors", "pt") as file:
        names = list(file.keys())
    index.write_text(
        json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")})
    )
    load(folder)
    for bad, message in (
        ("gone.safetensors", "which does not exist"),
        ("../model.safetensors", "weight_map.a = '../model"),
    ):
        index.write_text(json.dumps({"weight_map": {"a": bad}}))
        with pytest.raises(ModelError, match=message):
            load(folder)


def test_the_revision_follows_the_bytes_and_not_the_name(folder: Path, tmp_path: Path) -> None:
    first = check_folder(folder).revision
    copied = Path(shutil.copytree(folder, tmp_path / "renamed"))
    assert check_folder(copied).revision == first
    data = bytearray((copied / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copied / "model.safetensors").write_bytes(data)
    assert check_folder(copied).revision != first
