"""A real model with real weights: SmolLM2-135M-Instruct, out of a GGUF file in Q4_1."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dobby_dagster.inference.local.tokenizer import load_tokenizer
from dobby_dagster.inference.models.model_lookup import check_model
from dobby_dagster.inference.models.model_source import ModelSource
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster_tests.helpers.local_engines import FASTEST, PROMPT, engine_on, generated, requests
from dobby_dagster_tests.helpers.real_models import smollm2

pytestmark = [pytest.mark.slow, pytest.mark.real_model]
CONTENTS = [
    "def area(radius):\n    return 3.14159 * radius ** 2",
    "def is_even(number):\n    return number % 2 == 0",
    "fn largest(values: &[i32]) -> Option<&i32> {\n    values.iter().max()\n}",
]


@pytest.fixture(scope="module")
def file() -> Path:
    return smollm2()


@pytest.fixture(scope="module")
def model(file: Path) -> ModelSource:
    return check_model(file)


def test_it_is_what_its_makers_say(model: ModelSource) -> None:
    assert (model.architecture, model.quantization) == ("Llama", "GGUF Q4_1")
    assert (model.config.num_layers, model.config.hidden_size, model.config.vocab_size) == (30, 576, 49_152)
    assert model.config.max_position_embeddings == 8_192
    assert "apache-2.0" in model.card["description"]


def test_tokens_are_those_of_llama_cpp(model: ModelSource) -> None:
    """Each digit is a token here, which transformers' reading of the file does not know."""
    tokenizer = load_tokenizer(model)
    for text, tokens in {
        "Hello, we can use": [19556, 28, 392, 416, 722],
        "The capital of France is": [504, 3575, 282, 4649, 314],
        "Hello world! 123": [19556, 905, 17, 216, 33, 34, 35],
        "Café déjà vu.": [51, 1939, 2756, 32564, 90, 16739, 386, 101, 30],
        "  multiple   spaces": [216, 2701, 256, 5600],
    }.items():
        assert tokenizer.plain([text]) == [tokens]
        assert tokenizer.decode(tokens) == text


@pytest.mark.parametrize("backend", [FASTEST, "packed"])
def test_tokens_in_float32_are_those_of_transformers(file: Path, backend: str) -> None:
    from transformers import AutoModelForCausalLM

    engine = engine_on(file, backend, no_repeat_ngram=0, max_new_tokens=12)
    outputs = generated(engine, CONTENTS)
    assert engine._loaded is not None
    reference = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    for sequence, one in zip(outputs, engine._loaded.encoder.encode(requests(CONTENTS), PROMPT), strict=True):
        ids = torch.tensor([one.prompt_ids])
        wanted = reference.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        end = [engine._loaded.tokenizer.token("eos_token")] if sequence.finish_reason == "stop" else []
        assert sequence.output_ids + end == wanted[0, len(one.prompt_ids) :].tolist()


def test_it_follows_a_prompt(file: Path) -> None:
    prompt = Prompt(id="free", version=1, description="", system="You are a helpful assistant.",
                    user="What does this function do?\n\n{content}", max_new_tokens=40)  # fmt: skip
    engine = engine_on(file, FASTEST, max_new_tokens=40)
    answers = {answer.id: answer for answer in engine.infer(requests(CONTENTS), prompt)}
    assert "circle" in answers["r0"].text
    assert "even" in answers["r1"].text


PEAK = """
import re, sys
from pathlib import Path
import torch
from dobby_dagster.inference.models.model_lookup import check_model
from dobby_dagster.inference.packed.packed_weights import load_weights

def memory(name):
    return 1000 * int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

model = check_model(Path(sys.argv[1]))
Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
before = memory("VmRSS")
weights = load_weights(model, torch.bfloat16, positions=512)
print(memory("VmHWM") - before, weights.bytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_it_is_loaded_tensor_by_tensor(file: Path, model: ModelSource) -> None:
    ended = subprocess.run([sys.executable, "-c", PEAK, str(file)], capture_output=True, text=True, check=True)
    peak, weights = map(int, ended.stdout.split())
    embedding = model.config.vocab_size * model.config.hidden_size * 4  # the largest tensor, in float32
    assert weights == pytest.approx(326e6, rel=0.01)
    assert peak < weights + 4 * embedding
