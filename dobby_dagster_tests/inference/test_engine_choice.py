"""Which engine is taken, by the table of engines, on machines of all kinds."""

from typing import get_args

import pytest

from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.inference.engine_choice import Host, Need, candidates, chosen, way_out
from dobby_dagster.inference.engine_features import DEVICES, ENGINES, Feature
from dobby_dagster.inference.local.backends import BACKENDS


def everything(*packages: str) -> str:
    return ""


def nothing(*packages: str) -> str:
    return f"{packages[0]} is not installed"


PC = Host("x86_64", everything)
MAC = Host("arm64", everything)
NAMES = {name for name, engine in ENGINES.items() if "server" not in engine.devices}


def test_the_table_the_settings_and_the_loaders_name_the_same_engines() -> None:
    assert set(BACKENDS) == NAMES
    assert NAMES | {"auto"} == set(get_args(ModelSettings.model_fields["engine"].annotation))


def test_every_device_has_an_engine_that_is_tried_last_and_runs_any_model() -> None:
    any_model = dict.fromkeys(
        (Feature.SCALED_ROTARY, Feature.SLIDING_WINDOW, Feature.OTHER_ACTIVATIONS, Feature.EXTRA_BIASES), "special"
    )
    for device in DEVICES.keys() - {"server"}:
        assert chosen(candidates(Need(device, features=any_model), PC)) == "transformers"
        assert list(candidates(Need(device), PC))[-1] == "transformers"


@pytest.mark.parametrize(
    ("need", "host", "name"),
    [
        (Need("cpu"), PC, "openvino"),
        (Need("cpu", "bfloat16", "int8"), PC, "openvino"),
        (Need("cpu", "float16"), PC, "transformers"),
        (Need("cpu", features={Feature.REPRODUCIBLE: "it has no reproducible mode"}), PC, "packed"),
        (Need("cpu"), Host("arm64", everything), "packed"),
        (Need("cpu", quantization="int8"), Host("arm64", everything), "transformers"),
        (Need("mps", "bfloat16"), MAC, "mlx"),
        (Need("mps", quantization="int4"), MAC, "mlx"),
        (Need("mps", features={Feature.REPRODUCIBLE: "it has no reproducible mode"}), MAC, "mlx"),
        (Need("mps", features={Feature.SCALED_ROTARY: "scaled"}), MAC, "mlx"),
        (Need("mps", features={Feature.SLIDING_WINDOW: "a window"}), MAC, "transformers"),
        (Need("cpu", quantization="int4"), MAC, None),
        (Need("cpu"), Host("x86_64", nothing), None),
        (Need("server"), Host("x86_64", nothing), "server"),
    ],
)
def test_auto_takes_the_first_that_can(need: Need, host: Host, name: str | None) -> None:
    assert chosen(candidates(need, host)) == name


@pytest.mark.parametrize(
    ("need", "host", "reason"),
    [
        (Need("cuda", requested="openvino"), PC, "it is for the CPU, not for CUDA"),
        (Need("cpu", "float16", requested="packed"), PC, "it has no float16"),
        (Need("cpu", quantization="int8", requested="packed"), PC, "it has no int8"),
        (Need("cuda", requested="mlx"), PC, "it is for Apple's GPU, not for CUDA"),
        (Need("mps", requested="mlx"), Host("arm64", nothing), "mlx is not installed"),
        (Need("cuda", quantization="int8", requested="transformers"), PC, "its int8 is for the CPU only"),
        (Need("cpu", requested="openvino"), Host("arm64", everything), "it is tested on x86-64 only, not on arm64"),
        (Need("cpu", requested="packed"), Host("x86_64", nothing), "torch is not installed"),
        (Need("cpu", features={Feature.SLIDING_WINDOW: "a window"}, requested="packed"), PC, "a window"),
    ],
)
def test_a_requested_engine_that_can_not_says_why(need: Need, host: Host, reason: str) -> None:
    assert candidates(need, host) == {need.requested: reason}


@pytest.mark.parametrize(
    ("need", "host", "hint"),
    [
        (Need("cpu", quantization="int8", requested="packed"), PC, "use model.engine = auto"),
        (Need("cpu", quantization="int4", requested="packed"), PC, "use model.engine = mlx"),
        (Need("cpu", quantization="int4"), PC, "use model.engine = mlx"),
        (Need("cpu", quantization="int4"), Host("x86_64", nothing), ""),
        (Need("cpu"), PC, ""),  # an engine was tried, and failed
        (Need("cpu", requested="mlx"), Host("x86_64", nothing), ""),
        (Need("cuda", quantization="int4", requested="vllm"), PC, ""),
    ],
)
def test_the_way_out_leads_to_an_engine_that_can(need: Need, host: Host, hint: str) -> None:
    assert way_out(need, host) == hint


def test_an_engine_that_runs_on_request_says_so() -> None:
    assert candidates(Need("cpu"), PC)["mlx"] == "it is for Apple's GPU, and on the CPU only by model.engine = mlx"
