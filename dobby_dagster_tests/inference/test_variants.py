"""Checkpoints as people keep them: rotary settings in all their forms, heads, names and indexes, beside transformers."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.rotary_embedding import Rotary, rotary_settings
from dobby_dagster.inference.models.rotary_frequencies import rotary_frequencies
from dobby_dagster_tests.helpers.checkpoints import edit_json, edit_tensors, reference_tokens
from dobby_dagster_tests.helpers.local_engines import BACKENDS, PROMPT, SKIPPED, engine_on, generated, requests

CONTENTS = ["def f(x):\n    return x + 1", "x = 1\n" * 45]
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


BOTH = pytest.mark.parametrize("folder", ["qwen2", "llama"], indirect=True)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the checkpoint that is named by the parameter; Qwen2 where there is none."""
    return Path(shutil.copytree(request.getfixturevalue(getattr(request, "param", "qwen2")), tmp_path / "model"))


def assert_as_transformers(folder: Path, *backends: str) -> None:
    """All engines write what transformers writes, which reads the folder by its own loader."""
    expected: list[list[int]] = []
    for backend in (each for each in backends if not SKIPPED.get(each)):
        engine = engine_on(folder, backend, no_repeat_ngram=0)
        outputs = generated(engine, CONTENTS)
        assert engine._loaded is not None
        if not expected:
            prompts = [item.prompt_ids for item in engine._loaded.encoder.encode(requests(CONTENTS), PROMPT)]
            expected = reference_tokens(folder, prompts)
        end = [engine._loaded.tokenizer.token("eos_token")]
        written = [each.output_ids + (end if each.finish_reason == "stop" else []) for each in outputs]
        assert written == expected, backend


@BOTH
@pytest.mark.parametrize(
    "said",
    [
        {"rope_parameters": {"rope_type": "default"}, "rope_theta": 500.0},
        {"rope_parameters": ..., "rope_theta": 500.0, "rope_scaling": None},
        {"rope_parameters": {"rope_theta": 500}},
    ],
)
def test_a_base_of_the_angles_wherever_it_is_said(said: dict[str, Any], folder: Path) -> None:
    edit_json(folder / "config.json", **said)
    assert_as_transformers(folder, *BACKENDS)


@pytest.mark.parametrize(
    "said",
    [
        {"rope_scaling": YARN},
        {"rope_parameters": ..., "rope_theta": 500.0, "rope_scaling": LLAMA3},
        {"rope_parameters": {"rope_type": "linear", "factor": 3.0}, "rope_theta": 500.0},
    ],
)
def test_scaled_angles_wherever_they_are_said(said: dict[str, Any], folder: Path) -> None:
    edit_json(folder / "config.json", **said)
    assert_as_transformers(folder, "auto", "mlx", "transformers")
    with pytest.raises(ModelError, match="the model's rotary embedding is scaled"):
        engine_on(folder, "packed").load()


FACTOR = st.sampled_from([1.0, 2, 8.5])
NUMBERS = st.fixed_dictionaries(
    {},
    optional={
        "factor": FACTOR, "rope_theta": st.sampled_from([500.0, 1e6]), "low_freq_factor": st.just(1.0),
        "high_freq_factor": st.just(4.0), "original_max_position_embeddings": st.sampled_from([64, 128]),
        "attention_factor": st.just(1.5), "beta_fast": st.just(16), "truncate": st.booleans(), "mscale": st.just(0.7),
        "mscale_all_dim": st.just(1.2),
    },
)  # fmt: skip
KINDS = st.sampled_from(["default", "linear", "dynamic", "yarn", "llama3", "longrope", "mrope", "su"])
NAMED = st.one_of(
    st.just({}), KINDS.map(lambda kind: {"type": kind}), KINDS.map(lambda kind: {"rope_type": kind}),
    st.tuples(KINDS, KINDS).map(lambda kinds: {"type": kinds[0], "rope_type": kinds[1]}),
)  # fmt: skip
ROTARY = st.one_of(st.none(), st.just({}), st.tuples(NAMED, NUMBERS).map(lambda parts: parts[0] | parts[1]))


@settings(max_examples=150)
@given(
    said=st.fixed_dictionaries(
        {},
        optional={
            "rope_parameters": ROTARY, "rope_scaling": ROTARY, "rope_theta": st.sampled_from([10_000, 5e5]),
            "original_max_position_embeddings": st.just(32),
        },
    )
)  # fmt: skip
def test_rotary_settings_are_read_as_transformers_reads_them(said: dict[str, Any]) -> None:
    from transformers import Qwen2Config
    from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

    sizes = {"hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 256, "model_type": "qwen2"}
    try:
        ours = Rotary.model_validate(rotary_settings(said | sizes)).settings()
    except ValueError:
        return  # refused, which the next test is about
    theirs = Qwen2RotaryEmbedding(Qwen2Config.from_dict(json.loads(json.dumps(said | sizes))))
    again = Qwen2RotaryEmbedding(Qwen2Config.from_dict(sizes | {"rope_parameters": ours}))
    assert ours["rope_type"] == theirs.rope_type
    assert torch.equal(again.inv_freq, theirs.inv_freq)
    assert again.attention_scaling == theirs.attention_scaling
    found, factor = rotary_frequencies(Rotary.model_validate(rotary_settings(said | sizes)), 16)
    assert np.allclose(found, theirs.inv_freq, rtol=1e-5)
    assert factor == pytest.approx(theirs.attention_scaling)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}, "rope_type = 'mrope' is invalid"),
        ({"rope_scaling": {"type": "longrope", "short_factor": [1.0]}}, "rope_type = 'longrope' is invalid"),
        ({"rope_scaling": {"type": "linear"}}, "linear needs factor"),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "full_attention = .* is invalid"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5 is invalid"),
        ({"rope_parameters": {"rope_theta": 0}}, "rope_theta = 0 is invalid"),
        ({"rope_parameters": {"rope_theta": float("inf")}}, "rope_theta = inf is invalid"),
        ({"rope_parameters": [1]}, r"rope_parameters = \[1\] is invalid"),
        ({"rope_scaling": "x"}, "rope_parameters = 'x' is invalid"),
    ],
)
def test_rotary_settings_that_are_not_understood_are_named(said: dict[str, Any], named: str, folder: Path) -> None:
    edit_json(folder / "config.json", **said)
    with pytest.raises(ModelError, match=named):
        check_folder(folder)


def with_head(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    embedding = tensors["model.embed_tokens.weight"]
    torch.manual_seed(7)
    return tensors | {"lm_head.weight": torch.randn(embedding.shape) * 0.3}


def with_the_same_head(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}


def with_only_a_head(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("model.embed_tokens", "lm_head"): tensor for name, tensor in tensors.items()}


def without_prefix(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}


def with_frequencies(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}


@BOTH
@pytest.mark.parametrize("change", [with_head, with_the_same_head, with_only_a_head, without_prefix, with_frequencies])
def test_heads_and_names_are_read_alike_by_all_engines(change: Any, folder: Path) -> None:
    edit_tensors(folder, change)
    assert_as_transformers(folder, *BACKENDS)


def test_a_sliding_window_is_computed_as_transformers_does(folder: Path) -> None:
    edit_json(folder / "config.json", use_sliding_window=True, sliding_window=24, max_window_layers=1, layer_types=...)
    assert_as_transformers(folder, "auto")
    with pytest.raises(ModelError, match="the model uses a sliding window"):
        engine_on(folder, "packed").load()


def test_an_adapter_that_is_not_merged_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="has an adapter that is not merged"):
        check_folder(folder)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_untied_model_without_a_head_is_refused(backend: str, folder: Path) -> None:
    edit_json(folder / "config.json", tie_word_embeddings=False)
    with pytest.raises(ModelError, match="weights are missing: lm_head.weight"):
        engine_on(folder, backend).load()


def test_an_index_beside_whole_weights_is_not_looked_at(folder: Path) -> None:
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_as_transformers(folder, "auto")
