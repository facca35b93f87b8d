"""GGUF files beside transformers' own reading of them: tokens, tokenizer, numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, TokenType
from hypothesis import given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.inference.local.tokenizer import load_tokenizer
from dobby_dagster.inference.models.checkpoint import Checkpoint
from dobby_dagster.inference.models.gguf_header import Array, TensorPlace, read_array, read_header
from dobby_dagster.inference.models.gguf_tensors import read_tensor
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.model_lookup import check_model, find_model
from dobby_dagster_tests.helpers.gguf_files import as_gguf, write_tokenizer
from dobby_dagster_tests.helpers.local_engines import BACKENDS, CONTENTS, PROMPT, engine_on, generated, requests

KINDS = [GGMLQuantizationType[name] for name in ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")]


@pytest.fixture(scope="module")
def files(qwen2: Path, llama: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("gguf")
    folders = {"qwen2": qwen2, "llama": llama}
    return {name: as_gguf(folder, place / f"{name}.gguf", KINDS[0]) for name, folder in folders.items()}


def transformers_tokens(file: Path, prompts: list[list[int]], new: int = 8) -> list[list[int]]:
    """What transformers writes, greedily and in float32, by its own reading of the file."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    written = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False)
        written.append(out[0, len(prompt) :].tolist())
    return written


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["F32", "Q4_1"])
@pytest.mark.parametrize("model", ["qwen2", "llama"])
def test_tokens_are_those_of_transformers(
    model: str, kind: str, backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    file = as_gguf(request.getfixturevalue(model), tmp_path / "model.gguf", GGMLQuantizationType[kind])
    engine = engine_on(file, backend, no_repeat_ngram=0)
    contents = [*CONTENTS[:4], "x = 1\n" * 40]
    outputs = generated(engine, contents)
    loaded = engine._loaded
    assert loaded is not None
    prompts = [item.prompt_ids for item in loaded.encoder.encode(requests(contents), PROMPT)]
    end = [loaded.tokenizer.token("eos_token")]
    written = [each.output_ids + (end if each.finish_reason == "stop" else []) for each in outputs]
    assert written == transformers_tokens(file, prompts)
    assert f"dequantized from GGUF {kind}" in loaded.info.engine_reason


@pytest.mark.parametrize("model", ["qwen2", "llama"])
def test_a_file_without_loss_is_read_as_the_folder_that_it_came_from(
    model: str, files: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    folder, file = check_folder(request.getfixturevalue(model)), check_model(files[model])
    with Checkpoint(folder, "pt") as one, Checkpoint(file, "pt") as other:
        expected, found = one.state(torch.float32), other.state(torch.float32)
        assert one.tied == other.tied
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    rounded = {"rms_norm_eps": pytest.approx(file.config.rms_norm_eps), "layer_types": None}  # to single precision
    assert file.config.model_dump() == folder.config.model_dump() | rounded
    theirs, ours = load_tokenizer(folder), load_tokenizer(file)
    assert ours.template == theirs.template
    assert (ours.token("eos_token"), ours.token("pad_token")) == (theirs.token("eos_token"), theirs.token("pad_token"))
    frame = "<|im_start|>user\ndef f(x): return x<|im_end|>"
    assert ours.encode(frame, add_special_tokens=False) == theirs.encode(frame, add_special_tokens=False)
    assert ours.plain([frame]) == theirs.plain([frame])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_weights_are_those_of_transformers(kind: GGMLQuantizationType, llama: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    file = as_gguf(llama, tmp_path / "model.gguf", kind)
    state = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name, dtype=torch.float32).state_dict()
    with Checkpoint(check_model(file), "pt") as checkpoint:
        found = checkpoint.state(torch.float32)
    assert {**found, "lm_head.weight": found["model.embed_tokens.weight"]}.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in found)


def kinds_of_transformers() -> list[GGMLQuantizationType]:
    from transformers.integrations.gguf import dequant

    return [GGMLQuantizationType(kind) for kind in sorted(dequant.GGML_BLOCK)]


@settings(max_examples=60)
@given(data=st.data())
def test_blocks_of_any_bytes_are_dequantized_as_transformers_does(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from gguf.constants import GGML_QUANT_SIZES
    from transformers.integrations.gguf.dequant import dequantize

    kind = data.draw(st.sampled_from(kinds_of_transformers()))
    block, size = GGML_QUANT_SIZES[kind]
    rows, blocks = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    stored = data.draw(st.binary(min_size=rows * blocks * size, max_size=rows * blocks * size))
    file = tmp_path_factory.mktemp("blocks") / "blocks"
    file.write_bytes(stored)
    found = read_tensor(file, TensorPlace(kind, (rows, blocks * block), 0, len(stored)))
    expected = dequantize(torch.frombuffer(bytearray(stored), dtype=torch.uint8).view(rows, -1), kind)
    assert np.allclose(found, expected.reshape(rows, -1).numpy(), rtol=1e-5, atol=1e-30, equal_nan=True)


TEXTS = st.text(max_size=60) | st.text(st.sampled_from("aeintor sd_().=\n\t 0123456789'é漢🙂"), max_size=80)


def theirs(file: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


@pytest.fixture(scope="module", params=["qwen2", "llama-bpe", "gpt-2"])
def byte_level(
    request: pytest.FixtureRequest, llama: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Any]:
    """Dobby's tokenizer of a file, and transformers'."""

    def tokenizer(writer: GGUFWriter) -> None:
        write_tokenizer(writer, llama, request.param)

    file = as_gguf(llama, tmp_path_factory.mktemp(request.param) / "model.gguf", tokenizer=tokenizer)
    return load_tokenizer(check_model(file)), theirs(file)


@settings(max_examples=150)
@given(text=TEXTS)
def test_texts_are_tokens_as_transformers_reads_them(byte_level: tuple[Any, Any], text: str) -> None:
    import unicodedata

    ours, other = byte_level
    normal = unicodedata.normalize("NFC", text)  # which Qwen2's own tokenizer.json does, and transformers here does not
    found = ours.encode(normal, add_special_tokens=False)
    assert found == other.encode(normal, add_special_tokens=False)
    assert ours.decode(found) == other.decode(found, skip_special_tokens=True)


PIECES = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdefgrtu()=1", "▁a", "re", "ret", "ur",
          "▁ret", "▁def", "de", "def", "tu", "ab", "▁(", "▁b"]  # fmt: skip


def sentence_piece(writer: GGUFWriter) -> None:
    """A tokenizer as Llama 2 has it: pieces with scores, the best first, and a token for each byte."""
    kinds = [TokenType.UNKNOWN, *[TokenType.CONTROL] * 2, *[TokenType.BYTE] * 256]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(PIECES)
    writer.add_token_scores([-float(index) for index in range(len(PIECES))])
    writer.add_token_types([*kinds, *[TokenType.NORMAL] * (len(PIECES) - len(kinds))])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


@pytest.fixture(scope="module")
def pieces(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    file = as_gguf(llama, tmp_path_factory.mktemp("pieces") / "model.gguf", tokenizer=sentence_piece)
    return load_tokenizer(check_model(file)), theirs(file)


@settings(max_examples=150)
@given(text=TEXTS.filter(lambda text: text and not text.startswith((" ", "▁"))))
def test_pieces_with_scores_are_merged_as_transformers_does(pieces: tuple[Any, Any], text: str) -> None:
    ours, other = pieces
    for special in (False, True):
        assert ours.encode(text, add_special_tokens=special) == other.encode(text, add_special_tokens=special)


def test_a_control_token_is_never_read_in_a_content(pieces: tuple[Any, Any]) -> None:
    ours, _ = pieces
    assert not {1, 2} & set(ours.plain(["a</s>b<s>"])[0])
    assert ours.encode("a</s>", add_special_tokens=False)[-1] == 2


def test_the_header_is_what_the_package_reads(files: dict[str, Path]) -> None:
    for file in files.values():
        header, reader = read_header(file), GGUFReader(file)
        assert [name for name in reader.fields if not name.startswith("GGUF.")] == list(header.metadata)
        for name, value in header.metadata.items():
            found = read_array(file, value) if isinstance(value, Array) else value
            assert found == reader.fields[name].contents(), name
        assert {tensor.name: (tensor.data_offset, tensor.n_bytes) for tensor in reader.tensors} == {
            name: (place.offset, place.bytes) for name, place in header.tensors.items()
        }


def test_the_fingerprint_is_that_of_the_file(files: dict[str, Path]) -> None:
    import hashlib

    model = find_model(ModelSettings(path=str(files["qwen2"])))
    assert model.revision == hashlib.sha256(files["qwen2"].read_bytes()).hexdigest()
    assert (model.name, model.architecture, model.shipped) == ("qwen2.gguf", "Qwen2", False)


def refused(folder: Path, file: Path, change: Any, message: str) -> None:
    as_gguf(folder, file, change=change)
    with pytest.raises(ModelError, match=message):
        check_model(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.add_expert_count(8), "llama.expert_count is not supported"),
        (lambda w: w.add_sliding_window(64), "llama.attention.sliding_window is not supported"),
        (lambda w: w.add_rope_dimension_count(8), "llama.rope.dimension_count = 8 is not supported: heads have 16"),
        (lambda w: w.add_value_length(32), "llama.attention.value_length = 32 is not supported"),
        (lambda w: w.add_uint16("split.count", 3), "is one of 3 parts"),
        (lambda w: w.add_tensor("rope_freqs.weight", np.full(8, 2, np.float32)), "rope_freqs.weight scales"),
        (lambda w: w.add_string("llama.rope.scaling.type", "longrope"), "rope_type = 'longrope' is invalid"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_by_name(change: Any, message: str, llama: Path, tmp_path: Path) -> None:
    refused(llama, tmp_path / "model.gguf", change, message)


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (lambda w, f: write_tokenizer(w, f, "tekken"), "tokenizer.ggml.pre = 'tekken' is not supported"),
        (lambda w, f: w.add_tokenizer_model("bert"), "model = 'bert' is invalid: Input should be 'gpt2' or 'llama'"),
        (lambda w, f: (w.add_tokenizer_model("llama"), w.add_token_list(["a"])), "has no tokenizer.ggml.scores"),
        (lambda w, f: (write_tokenizer(w, f), w.add_bos_token_id(5_000)), "its largest token is 5,000"),
        (lambda w, f: (write_tokenizer(w, f), w.add_token_scores([1.0])), "scores does not have an item for each token"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_is_not_supported_is_refused_by_name(
    tokenizer: Any, message: str, llama: Path, tmp_path: Path
) -> None:
    file = as_gguf(llama, tmp_path / "model.gguf", tokenizer=lambda writer: tokenizer(writer, llama))
    with pytest.raises(ModelError, match=message):
        check_model(file)


def test_the_factors_of_llama_3_are_read_as_its_parameters(llama: Path, tmp_path: Path) -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    said = {"rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8_192}  # fmt: skip
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 512}
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](LlamaConfig(**sizes, rope_parameters=said))
    plain = 10_000.0 ** -(torch.arange(0, 16, 2) / 16)
    file = as_gguf(
        llama, tmp_path / "model.gguf", change=lambda w: w.add_tensor("rope_freqs.weight", (plain / scaled).numpy())
    )
    assert check_model(file).config.rotary.settings() == pytest.approx(said)


def test_a_folder_of_files_and_other_files_are_explained(llama: Path, tmp_path: Path) -> None:
    as_gguf(llama, tmp_path / "model.gguf")
    with pytest.raises(ModelError, match=r"holds model.gguf.*--model .*model.gguf"):
        find_model(ModelSettings(path=str(tmp_path)))
    with pytest.raises(ModelError, match="it does not begin with GGUF"):
        find_model(ModelSettings(path=str(llama / "model.safetensors")))


def test_without_the_package_the_error_says_how_to_install_it(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dobby_dagster.inference.models.gguf_file.missing", lambda *names: "gguf is not installed: pip …"
    )
    with pytest.raises(ModelError, match="qwen2.gguf can't be read: gguf is not installed: pip"):
        check_model(files["qwen2"])
