"""Model folders that attack: each ends in one line that names the file, quickly, and before anything large is made."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.local.tokenizer import load_tokenizer
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.shipped_models import shelf
from dobby_dagster.inference.models.tokenizer_files import read_ends, read_special, read_template
from dobby_dagster_tests.helpers.checkpoints import edit_json
from dobby_dagster_tests.helpers.local_engines import engine_on

Attack = Callable[[Path], object]
DEEP = '{"a":' + "[" * 100_000


@pytest.fixture
def folder(qwen2: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(qwen2, tmp_path / "model"))


def config(**changes: Any) -> Attack:
    return lambda folder: edit_json(folder / "config.json", **changes)


def card(**changes: Any) -> Attack:
    return lambda folder: edit_json(folder / "dobby.json", **changes)


def text(name: str, said: str | bytes) -> Attack:
    return lambda folder: (folder / name).write_bytes(said if isinstance(said, bytes) else said.encode())


def replaced(name: str, make: Callable[[Path], object]) -> Attack:
    def attack(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return attack


def index(weight_map: Any) -> Attack:
    def attack(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "a.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return attack


def header(change: Callable[[dict[str, Any]], Any]) -> Attack:
    def attack(folder: Path) -> None:
        file = folder / "model.safetensors"
        data = file.read_bytes()
        end = 8 + int.from_bytes(data[:8], "little")
        said = json.dumps(change(json.loads(data[8:end]))).encode()
        file.write_bytes(len(said).to_bytes(8, "little") + said + data[end:])

    return attack


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Attack:
    def attack(folder: Path) -> None:
        said = json.loads((folder / "tokenizer.json").read_text())
        change(said)
        (folder / "tokenizer.json").write_text(json.dumps(said))

    return attack


def added(**changes: Any) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": 5, "content": "x", "special": True} | flags | changes


FILES: dict[str, tuple[Attack, str]] = {
    "a pipe for a configuration": (replaced("config.json", os.mkfifo), "config.json is not a regular file"),
    "a device for a configuration": (replaced("config.json", lambda f: f.symlink_to("/dev/zero")), "not a regular file"),
    "a device for weights": (replaced("model.safetensors", lambda f: f.symlink_to("/dev/zero")), "not a regular file"),
    "a pipe for a tokenizer": (replaced("tokenizer.json", os.mkfifo), "tokenizer.json is not a regular file"),
    "a pipe that a library might read": (replaced("merges.txt", os.mkfifo), "merges.txt is not a regular file"),
    "a folder for a configuration": (replaced("config.json", Path.mkdir), "config.json is not a regular file"),
    "a file of the system for weights": (replaced("model.safetensors", lambda f: f.symlink_to("/etc/passwd")), "safetensors"),
    "a dangling link": (replaced("tokenizer.json", lambda f: f.symlink_to("/nowhere")), "has no tokenizer.json"),
    "an index of the system": (index({"x": "/etc/passwd"}), "weight_map.x = '/etc/passwd' is invalid"),
    "an index above": (index({"x": ".."}), "weight_map.x = '..' is invalid"),
    "an index of numbers": (index({"x": 5, "y": "a.safetensors"}), "weight_map.x = 5 is invalid"),
    "an index as a list": (index(["a.safetensors"]), "weight_map = .* is invalid"),
    "an empty index": (index({}), "weight_map = {} is invalid"),
    "an index with an escape": (index({"x": "\x1b[31mx"}), r"weight_map.x = '\\x1b\[31mx' is invalid"),
    "an empty file": (text("model.safetensors", b""), "is truncated or not a safetensors file"),
    "a header of a size": (text("model.safetensors", (2**63).to_bytes(8, "little") + b"{}"), "is truncated"),
    "a deep header": (text("model.safetensors", (200_000).to_bytes(8, "little") + b"[" * 200_000), "malformed"),
    "a long header": (
        text("model.safetensors", (11_000_000).to_bytes(8, "little") + b"{" + b" " * 11_000_000), "has a header of 11,000,000"
    ),
    "a header as a list": (header(lambda h: [1, 2]), "malformed header"),
    "an offset before the data": (
        header(lambda h: h | {"model.norm.weight": h["model.norm.weight"] | {"data_offsets": [-8, 0]}}), "malformed"
    ),
    "an offset as a text": (header(lambda h: h | {"z": {"dtype": "F32", "shape": [1], "data_offsets": ["a", 9]}}), "malformed"),
    "tensors over each other": (
        header(lambda h: h | {"z": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}), "can't be read"
    ),
    "deep JSON": (text("config.json", DEEP), "config.json can't be read"),
    "a long number": (text("config.json", '{"model_type": "qwen2", "a": ' + "9" * 5_000 + "}"), "config.json can't be read"),
    "no UTF-8": (text("config.json", b"\xff\xfe\x00"), "config.json can't be read"),
    "a large file": (text("config.json", b" " * 10_000_001), "10,000,001 bytes long; 10,000,000 are allowed"),
    "a card as a list": (text("dobby.json", "[]"), "dobby.json does not hold a JSON object"),
    "a deep card": (text("dobby.json", DEEP), "dobby.json can't be read"),
    "prompts as a number": (card(prompts=5), "prompts = 5 is invalid"),
    "prompts as a text": (card(prompts="summary"), "prompts = 'summary' is invalid"),
    "a prompt's length as a text": (card(max_prompt_tokens="abc"), "max_prompt_tokens = 'abc' is invalid"),
    "a prompt's length below zero": (card(max_prompt_tokens=-5), "max_prompt_tokens = -5 is invalid"),
    "a prompt's length without end": (card(max_prompt_tokens=1e400), "max_prompt_tokens = inf is invalid"),
    "a description as a list": (card(description=[1]), "description"),
    "a calibration as a text": (card(calibration="x"), "calibration"),
    "a calibration of nothing": (card(calibration=None), "calibration"),
    "generation settings as a list": (text("generation_config.json", "[1]"), "does not hold a JSON object"),
    "an end as an object": (text("generation_config.json", '{"eos_token_id": {"a": 1}}'), "eos_token_id.* is invalid"),
    "broken generation settings": (text("generation_config.json", "{"), "generation_config.json can't be read"),
    "tokenizer settings as a list": (text("tokenizer_config.json", "[]"), "does not hold a JSON object"),
    "no UTF-8 in tokenizer settings": (text("tokenizer_config.json", b"\xff"), "tokenizer_config.json can't be read"),
    "templates of numbers": (
        lambda f: ((f / "chat_template.jinja").unlink(), edit_json(f / "tokenizer_config.json", chat_template=[1, 2])),
        "chat_template.* is invalid",
    ),
    "a template that is no text": (text("chat_template.jinja", b"\xff\xfe"), "chat_template.jinja is not UTF-8"),
    "a tokenizer as a list": (text("tokenizer.json", "[]"), "does not hold a JSON object"),
    "a deep tokenizer": (text("tokenizer.json", DEEP), "tokenizer.json can't be read"),
    "ten thousand added tokens": (
        tokenizer(lambda t: t.update(added_tokens=[added(content=f"t{i}") for i in range(10_001)])),
        "is invalid: List should have at most 10000 items",
    ),
    "a token below zero": (tokenizer(lambda t: t["added_tokens"].append(added(id=-5))), r"added_tokens.3.id = -5 is invalid"),
    "an empty vocabulary": (tokenizer(lambda t: t["model"].update(vocab={}, merges=[])), "it holds no vocabulary"),
    "a vocabulary of texts": (tokenizer(lambda t: t["model"].update(vocab={"a": "b"})), "vocab"),
}  # fmt: skip
NUMBERS: dict[str, Any] = {
    "vocab_size": [..., "abc", [1], 1e400, 10**12, -1, True],
    "model_type": [["qwen2"], "\x1b[31mevil", None],
    "max_position_embeddings": ["abc", 10**13, -5, 0, 1e400],
    "num_hidden_layers": [10**9, 0, -3, 3, 1.5],
    "hidden_size": [10**9, 63],
    "num_attention_heads": [10**9, 0, -6],
    "num_key_value_heads": [-2, 7, 3],
    "head_dim": [-64, 10**9, 5],
    "intermediate_size": [10**10, 7],
    "rms_norm_eps": [float("nan"), "x", -1],
    "rope_theta": [],
    "rope_parameters": [{"rope_theta": -1.0}, {"rope_theta": 1e400}, [1], "x"],
    "eos_token_id": ["x", [[1]], {"a": 1}],
    "quantization_config": [{"quant_method": "hqq"}, [1], "x"],
    "tie_word_embeddings": ["x", [1]],
    "layer_types": ["x", [5]],
    "auto_map": [{"AutoModelForCausalLM": "evil.Model"}],
}


def read(folder: Path) -> None:
    """All that is read of a folder before a library reads it."""
    checked = check_folder(folder)
    for reader in (read_ends, read_special, read_template):
        reader(folder)
    assert checked.prompt_limit(100, 8) > 0
    assert checked.revision


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_model_are_named(name: str, folder: Path) -> None:
    attack, message = FILES[name]
    attack(folder)
    with pytest.raises(ModelError, match=message):
        if name == "tensors over each other":
            engine_on(folder).load()
        read(folder)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_make_no_sense_are_named(name: str, folder: Path) -> None:
    said = (folder / "config.json").read_text()
    for value in NUMBERS[name]:
        (folder / "config.json").write_text(said)
        edit_json(folder / "config.json", **{name: value})
        with pytest.raises(ModelError, match="."):
            read(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "dobby.json")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(NAMES), value=JSON)
def test_any_value_anywhere_is_read_or_refused(data: st.DataObject, name: str, value: Any, folder: Path) -> None:
    file = folder / name
    before = file.read_text() if file.is_file() else None
    known = json.loads(before or "{}")
    keys = [
        *known,
        "chat_template",
        "calibration",
        "prompts",
        "max_prompt_tokens",
        "quantization_config",
        "rope_scaling",
    ]
    key = data.draw(st.sampled_from([*keys, None]))
    file.write_text(json.dumps(value if key is None else known | {key: value}))
    try:
        read(folder)
    except ModelError as error:
        assert "\n" not in error.message
    finally:
        file.unlink() if before is None else file.write_text(before)


def bomb(**changes: Any) -> Attack:
    return tokenizer(lambda said: said.update(changes))


def split(pattern: str) -> Attack:
    return bomb(pre_tokenizer={"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False})


@pytest.mark.parametrize(
    "attack",
    [
        bomb(normalizer={"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"Regex": "."}, "content": "x" * 5_000}]}),
        bomb(normalizer={"type": "Prepend", "prepend": "x" * 50_000}),
        split("(((("),
        bomb(decoder={"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"Regex": "."}, "content": "x" * 5_000}]}),
    ],
    ids=["replace", "prepend", "malformed", "decoder"],
)  # fmt: skip
def test_a_tokenizer_that_explodes_does_so_in_another_process(attack: Attack, folder: Path) -> None:
    attack(folder)
    with pytest.raises(ModelError, match="the tokenizer"):
        load_tokenizer(check_folder(folder))


def test_the_definitions_load_whatever_the_model_is(folder: Path) -> None:
    from dobby_dagster.defs.builders import _recipe_id
    from dobby_dagster.domain.settings_loader import load_settings

    for attack in (config(max_position_embeddings="abc"), text("config.json", DEEP), text("dobby.json", "[]")):
        attack(folder)
        loaded = load_settings({"model.path": str(folder)}, environment={}).settings
        assert _recipe_id(loaded) is None


def test_what_a_shipped_model_brings_is_not_tried_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from dobby_dagster.inference.sandbox import limited_process

    monkeypatch.setattr(limited_process, "ask", None)
    assert load_tokenizer(check_folder(shelf()[SMALL_MODEL])).prompts([("a", "b")])
