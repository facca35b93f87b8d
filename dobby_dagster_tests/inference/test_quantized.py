"""Quantized checkpoints: what is dequantized, beside transformers on the dequantized numbers, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.checkpoint import Checkpoint
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster_tests.helpers.checkpoints import edit_json, edit_tensors, reference_tokens
from dobby_dagster_tests.helpers.local_engines import (
    BACKENDS,
    CONTENTS,
    FASTEST,
    PROMPT,
    engine_on,
    generated,
    requests,
)
from dobby_dagster_tests.helpers.quantized_checkpoints import FORMS, PACKED_FORMS, compressed, int8_rows, quantized


@pytest.mark.parametrize("form", FORMS)
def test_the_numbers_are_those_of_the_form_in_both_frameworks(form: str, qwen2: Path, tmp_path: Path) -> None:
    model, twin = quantized(qwen2, form, tmp_path, embedding=form not in PACKED_FORMS)
    expected = {}
    with Checkpoint(check_folder(twin), "pt") as checkpoint:
        expected = checkpoint.state(torch.float32)
    with Checkpoint(check_folder(model), "pt") as checkpoint:
        found = checkpoint.state(torch.float32)
    assert found.keys() == expected.keys()
    with Checkpoint(check_folder(model), "np") as arrays:
        for name, tensor in expected.items():
            assert tensor.isfinite().all()
            assert torch.allclose(found[name], tensor, rtol=1e-6, atol=0)
            assert np.array_equal(arrays.read(name, *tensor.shape).astype(np.float32), found[name].numpy())
    assert arrays.parameters == sum(tensor.numel() for tensor in expected.values())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("form", ["int8 rows", "fp8 blocks", *PACKED_FORMS])
def test_tokens_are_those_of_transformers_on_the_dequantized_numbers(
    form: str, backend: str, qwen2: Path, tmp_path: Path
) -> None:
    model, twin = quantized(qwen2, form, tmp_path, embedding=form not in PACKED_FORMS)
    engine = engine_on(model, backend, no_repeat_ngram=0)
    contents = [*CONTENTS[:6], "x = 1\n" * 40]
    outputs = generated(engine, contents)
    loaded = engine._loaded
    assert loaded is not None
    prompts = [item.prompt_ids for item in loaded.encoder.encode(requests(contents), PROMPT)]
    ends = [[loaded.tokenizer.token("eos_token")] if each.finish_reason == "stop" else [] for each in outputs]
    written = [each.output_ids + end for each, end in zip(outputs, ends, strict=True)]
    assert written == reference_tokens(twin, prompts)
    plain = engine_on(twin, backend).load()
    assert (loaded.info.parameters, loaded.info.memory_bytes) == (plain.parameters, plain.memory_bytes)
    assert f"dequantized from {FORMS[form][0]['quant_method']}" in loaded.info.engine_reason


@pytest.mark.skipif(FASTEST != "openvino", reason="OpenVINO is for x86-64")
def test_int8_runs_with_the_numbers_that_are_stored(qwen2: Path, tmp_path: Path) -> None:
    from dobby_dagster.inference.openvino.openvino_graph import build_graph

    model, _ = quantized(qwen2, "int8 rows", tmp_path, embedding=True)
    graph = build_graph(check_folder(model), "float32", int8=True)
    held = [node.data for node in graph.model.get_ops() if node.get_type_name() == "Constant"]
    with Checkpoint(check_folder(model), "np") as checkpoint:
        size = 0
        for name, shape in checkpoint.shapes().items():
            stored = checkpoint.int8(name, *shape) if len(shape) == 2 else None
            if stored is None:
                checkpoint.read(name, *shape)
                continue
            size += stored[0].size + 4 * len(stored[0])
            assert any(each.dtype == np.int8 and np.array_equal(each, stored[0]) for each in held)
            assert any(each.shape == stored[1].shape and np.array_equal(each, stored[1]) for each in held)
    assert graph.bytes == size
    engine = LocalEngine(
        check_folder(model), ModelSettings(device="cpu"), InferenceSettings(max_new_tokens=8, no_repeat_ngram=0)
    )
    loaded = engine.load()
    assert "weights kept as they are in compressed-tensors int-quantized" in loaded.engine_reason
    assert (loaded.quantization, loaded.numbers) == ("int8", f"int8 and {loaded.dtype}")
    first = [each.output_ids[:1] for each in generated(engine, CONTENTS)]
    exact = [each.output_ids[:1] for each in generated(engine_on(model, no_repeat_ngram=0), CONTENTS)]
    assert sum(one == other for one, other in zip(first, exact, strict=True)) >= 0.8 * len(CONTENTS)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (
            {"quant_method": "hqq"},
            "quantized by hqq, which is not supported .fetch the checkpoint before it was quantized",
        ),
        ({"quant_method": "gptq", "bits": 3}, "quantized by gptq in 3 bits"),
        ({"quant_method": "gptq", "bits": 4, "is_marlin_format": True}, "stored as marlin"),
        ({"quant_method": "gptq", "bits": "many"}, "quantization_config.bits is invalid"),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "quantized by awq gemv in 4 bits"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "quantized by bitsandbytes in 4 bits"),
        ({"load_in_4bit": True}, "quantized by bitsandbytes in 4 bits"),
        (compressed("pack-quantized", num_bits=3), "quantized by compressed-tensors pack-quantized in 3 bits"),
        (
            compressed("int-quantized") | {"transform_config": {"config_groups": {"R1": {"type": "hadamard"}}}},
            "quantized by compressed-tensors with transforms",
        ),
        (compressed("nvfp4-pack-quantized", num_bits=4), "quantized by compressed-tensors nvfp4-pack-quantized"),
        ({"quant_method": "fp8", "scale_fmt": "ue8m0"}, "fp8 with scales in ue8m0"),
        ({"quant_method": "fp8", "weight_block_size": [0, 3]}, "quantization_config.weight_block_size.0 is invalid"),
        ({"quant_method": ["fp8"]}, "is not supported"),
        ("fp8", "quantized by 'fp8'"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(said: Any, named: str, qwen2: Path, tmp_path: Path) -> None:
    model, _ = quantized(qwen2, "int8 rows", tmp_path)
    edit_json(model / "config.json", quantization_config=said)
    with pytest.raises(ModelError, match=named):
        check_folder(model)


Tensors = dict[str, torch.Tensor]
QUERY = "model.layers.0.self_attn.q_proj."


def without_scale(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name != f"{QUERY}weight_scale"}


def with_order(tensors: Tensors) -> Tensors:
    return tensors | {f"{QUERY}weight_g_idx": torch.arange(64)}


def with_other_blocks(tensors: Tensors) -> Tensors:
    return tensors | {f"{QUERY}weight_scale": torch.ones(64, 4)}


def with_uint8(tensors: Tensors) -> Tensors:
    return tensors | {f"{QUERY}weight": tensors[f"{QUERY}weight"].view(torch.uint8)}


def with_more(tensors: Tensors) -> Tensors:
    return tensors | {"model.layers.2.mlp.up_proj.weight": torch.ones(4, 4)}


def with_scale_of_nothing(tensors: Tensors) -> Tensors:
    return tensors | {"model.norm.weight_scale": torch.ones(1)}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (without_scale, r"weights are missing: model.layers.0.self_attn.q_proj.weight_scale"),
        (with_order, r"no place for model.layers.0.self_attn.q_proj.weight_g_idx|weight_g_idx is stored as I64"),
        (with_other_blocks, r"weight_scale is \(64, 4\), which quantization_config does not explain"),
        (with_uint8, r"q_proj.weight is stored as U8, which compressed-tensors int-quantized does not allow"),
        (with_more, r"no place for model.layers.2.mlp.up_proj.weight"),
        (with_scale_of_nothing, r"no place for model.norm.weight_scale"),
    ],
)
def test_tensors_that_the_engine_has_no_use_for_are_named(
    change: Any, named: str, backend: str, qwen2: Path, tmp_path: Path
) -> None:
    model, _ = quantized(qwen2, "int8 rows", tmp_path)
    edit_tensors(model, change)
    with pytest.raises(ModelError, match=named):
        engine_on(model, backend).load()


def test_scales_of_caches_are_passed_over(qwen2: Path, tmp_path: Path) -> None:
    model, _ = quantized(qwen2, "int8 rows", tmp_path)
    edit_tensors(model, lambda tensors: tensors | {"model.layers.0.self_attn.k_scale": torch.ones(1)})
    assert engine_on(model).load().parameters > 0


def test_weights_in_bytes_without_a_word_in_the_configuration(qwen2: Path, tmp_path: Path) -> None:
    model, _ = quantized(qwen2, "int8 rows", tmp_path)
    edit_json(model / "config.json", quantization_config=...)
    with pytest.raises(ModelError, match="is stored as I8, and config.json has no quantization_config"):
        engine_on(model).load()


def test_the_fingerprint_follows_the_scales(qwen2: Path, tmp_path: Path) -> None:
    model, twin = quantized(qwen2, "int8 rows", tmp_path)
    before = check_folder(model).revision
    assert before != check_folder(twin).revision
    edit_tensors(model, lambda tensors: tensors | {f"{QUERY}weight_scale": tensors[f"{QUERY}weight_scale"] * 2})
    assert check_folder(model).revision != before
    said = json.loads((model / "config.json").read_text())["quantization_config"]
    assert said["format"] == "int-quantized"


def test_an_embedding_and_a_head_that_differ_once_dequantized_are_not_tied(qwen2: Path, tmp_path: Path) -> None:
    model, _ = quantized(qwen2, "int8 rows", tmp_path, embedding=True)
    edit_tensors(model, lambda tensors: tensors | {
        f"lm_head.{part}": value for part, value in int8_rows(torch.randn(tensors["model.embed_tokens.weight"].shape))[0].items()
    })  # fmt: skip
    with Checkpoint(check_folder(model), "np") as checkpoint:
        assert not checkpoint.tied
        for name, shape in checkpoint.shapes().items():
            checkpoint.read(name, *shape)
