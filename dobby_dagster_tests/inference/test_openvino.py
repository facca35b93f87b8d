"""Generation by OpenVINO: what its precisions cost, where its numbers lie, and what its graph looks like."""

import inspect
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Generation
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.local.prompt_encoding import Encoder
from dobby_dagster.inference.local.tokenizer import load_tokenizer
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.models.shipped_models import shelf
from dobby_dagster_tests.helpers.local_engines import CONTENTS, FASTEST, PROMPT, edited, requests

if FASTEST != "openvino":
    pytest.skip("OpenVINO is for x86-64", allow_module_level=True)

from dobby_dagster.inference.openvino import openvino_network
from dobby_dagster.inference.openvino.openvino_graph import build_graph
from dobby_dagster.inference.openvino.openvino_network import OpenVinoNetwork, PagedSlots, compile_graph

CODE = [textwrap.dedent(inspect.getsource(each)) for _, each in inspect.getmembers(textwrap, inspect.isfunction)]
CODE += [inspect.getsource(each) for _, each in inspect.getmembers(inspect, inspect.isfunction)][:30]


def network(path: Path, dtype: str = "float32", *, int8: bool = False) -> OpenVinoNetwork:
    graph = build_graph(check_folder(path), dtype, int8=int8)
    return OpenVinoNetwork(compile_graph(graph, dtype, streams=1, threads=1))


def test_norms_rotations_and_attention_are_one_kernel_each(qwen2: Path) -> None:
    graph = build_graph(check_folder(qwen2), "float32")
    compiled = compile_graph(graph, "float32", streams=1, threads=1).model
    kinds = Counter(str(node.get_rt_info()["layerType"].astype(str)) for node in compiled.get_runtime_model().get_ops())
    layers = graph.config.num_layers
    assert (kinds["PagedAttention"], kinds["RoPE"], kinds["RMS"]) == (layers, 2 * layers, 2 * layers + 1)
    assert kinds["FullyConnected"] == 7 * layers + 1
    assert kinds["Transpose"] == kinds["Softmax"] == 0


def test_slots_change_places_without_a_copy(qwen2: Path) -> None:
    made = network(qwen2)
    prompts = [[5, 6, 7, 8], list(range(9, 60)), [70, 71]]
    slots = made.slots(3, 90)
    first = made.prefill(prompts, slots, 0).argmax(-1).tolist()
    expected = made.decode(first, [4, 51, 2], slots).copy()
    slots = made.slots(3, 90)
    made.prefill(prompts, slots, 0)
    slots.move(2, 0, 2)
    again = made.decode([first[2], first[1], first[0]], [2, 51, 4], slots)
    assert np.allclose(again, expected[[2, 1, 0]], atol=1e-4)


def test_two_sets_of_slots_do_not_disturb_each_other(qwen2: Path) -> None:
    made = network(qwen2)
    one, other = made.slots(2, 64), made.slots(2, 40)
    first = made.prefill([[5, 6, 7]], one, 0).copy()
    made.prefill([[50, 60, 70, 80]], other, 0)
    token = int(first.argmax())
    behind = made.decode([token], [3], one).copy()
    whole = made.prefill([[5, 6, 7, token]], made.slots(1, 64), 0)
    assert np.allclose(behind, whole, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "int8", "near"), [("bfloat16", False, 0.03), ("float32", True, 0.2)])
def test_low_precision_stays_near_and_is_smaller(dtype: str, int8: bool, near: float) -> None:
    model = check_folder(shelf()[SMALL_MODEL])
    folder = model.path
    prompts = [each.prompt_ids for each in Encoder(load_tokenizer(model), 160).encode(requests(CODE), PROMPT)]
    plain = network(folder)
    low = network(folder, dtype, int8=int8)
    expected, found = (each.prefill(prompts, each.slots(len(prompts), 160), 0).copy() for each in (plain, low))
    assert np.abs(found - expected).max() < near * np.abs(expected).max()
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.9
    sizes = [build_graph(check_folder(folder), d, int8=i).bytes for d, i in ((dtype, int8), ("float32", False))]
    assert sizes[0] < 0.6 * sizes[1]


@pytest.mark.slow
def test_int8_writes_much_the_same_summaries(tmp_path: Path) -> None:
    written = {}
    for quantization in ("none", "int8"):
        settings = ModelSettings.model_validate({"engine": "openvino", "quantization": quantization})
        engine = LocalEngine(find_model(settings), settings, InferenceSettings())
        answers = [a for a in engine.infer(requests(CONTENTS), PROMPT) if isinstance(a, Generation)]
        written[quantization] = {a.id: a.text.split() for a in answers}
        assert engine.load().engine == "openvino"
        engine.close()
    pairs = [(text, written["int8"][key]) for key, text in written["none"].items()]
    assert len(pairs) == len(CONTENTS)
    assert sum(one[:2] == other[:2] for one, other in pairs) / len(pairs) > 0.7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.norm.weight", r"model\.norm\.weight is \(8,\)"),
        ("model.layers.0.mlp.up_proj.weight", "is missing|are missing"),
    ],
)
def test_weights_that_do_not_fit_are_named(name: str, message: str, qwen2: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = edited(qwen2, tmp_path / "wrong")
    tensors: dict[str, Any] = load_file(path / "model.safetensors")
    if "norm" in name:
        tensors[name] = tensors[name][:8].clone()
    else:
        del tensors[name]
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=message):
        build_graph(check_folder(path), "bfloat16")


def test_weights_in_bfloat16_are_not_expanded() -> None:
    compiled = compile_graph(
        build_graph(check_folder(shelf()[SMALL_MODEL]), "bfloat16"), "bfloat16", streams=1, threads=1
    )
    OpenVinoNetwork(compiled)
    constants = [
        (str(node.get_rt_info()["outputPrecisions"].astype(str)), node.output(0).get_shape())
        for node in compiled.model.get_runtime_model().get_ops()
        if node.get_rt_info()["layerType"].astype(str) == "Const" and node.output(0).get_partial_shape().is_static
    ]
    matrices = Counter(kind for kind, shape in constants if len(shape) == 2 and min(shape) > 8)
    assert matrices["bf16"] > 7
    assert matrices["f32"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_are_in_memory_once() -> None:
    settings = ModelSettings(engine="openvino")
    engine = LocalEngine(find_model(settings), settings, InferenceSettings(slots=8))
    engine.load()
    list(engine.infer(requests(CODE), PROMPT))
    assert _resident_bytes("model.safetensors") == 0, "the packed weights and the file's are both in memory"
    engine.close()


def _resident_bytes(file: str) -> int:
    """Memory that holds pages of a file of this name, which this process has mapped."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *values = line.split()
        if not name.endswith(":"):
            inside = line.endswith(file)
        elif inside and name == "Rss:":
            total += int(values[0]) * 1024
    return total


def test_slots_of_any_size_take_over_the_memory_of_those_before(qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[PagedSlots] = []
    monkeypatch.setattr(openvino_network, "PagedSlots", lambda *a: made.append(PagedSlots(*a)) or made[-1])
    settings = ModelSettings(device="cpu", dtype="float32", engine="openvino")
    engine = LocalEngine(check_folder(qwen2), settings, InferenceSettings(slots=8, max_new_tokens=8))
    alone = {content: _texts(engine, [content])[0] for content in CONTENTS[:8]}
    engine.rest()
    many = _texts(engine, CONTENTS[:8])
    largest = len(made)
    few, again = _texts(engine, CONTENTS[:2]), _texts(engine, CONTENTS[:8])
    assert len(made) == largest, "no memory was taken for slots of another size"
    assert many == again == [alone[content] for content in CONTENTS[:8]]
    assert few == many[:2]


def _texts(engine: LocalEngine, contents: list[str]) -> list[str]:
    answers = {a.id: a.text for a in engine.infer(requests(contents), PROMPT) if isinstance(a, Generation)}
    return [answers[f"r{place}"] for place in range(len(contents))]


def test_a_weight_file_that_is_written_to_ends_the_run(tmp_path: Path) -> None:
    engine, file = _on_a_copy(tmp_path)
    running = engine.infer(requests(CODE[:8]), PROMPT)
    next(running)
    with file.open("r+b") as stream:
        stream.seek(-2, 2)
        stream.write(b"  ")
    with pytest.raises(ModelError, match=r"model\.safetensors was written to while the model was in use"):
        list(running)


def test_a_weight_file_that_is_replaced_does_not_disturb_the_run(tmp_path: Path) -> None:
    engine, file = _on_a_copy(tmp_path)
    expected = [answer.text for answer in engine.infer(requests(CODE[:8]), PROMPT) if isinstance(answer, Generation)]
    (tmp_path / "other").write_bytes(b"no weights")
    (tmp_path / "other").replace(file)
    found = [answer.text for answer in engine.infer(requests(CODE[:8]), PROMPT) if isinstance(answer, Generation)]
    assert found == expected


def _on_a_copy(place: Path) -> tuple[LocalEngine, Path]:
    settings = ModelSettings(path=SMALL_MODEL, engine="openvino")
    path = edited(find_model(settings).path, place / "copy")
    engine = LocalEngine(check_folder(path), settings, InferenceSettings(slots=1))
    engine.load()
    return engine, path / "model.safetensors"


def test_torch_and_transformers_are_not_imported() -> None:
    code = """
import sys
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Generation, Request
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.prompts import PromptLibrary
settings = ModelSettings(device="cpu")
engine = LocalEngine(find_model(settings), settings, InferenceSettings())
[answer] = engine.infer([Request("a", "def f(): pass")], PromptLibrary.load().get("summary"))
assert isinstance(answer, Generation) and engine.health().ok
engine.close()
sys.exit(bool({"torch", "transformers"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
