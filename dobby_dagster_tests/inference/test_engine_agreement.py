"""Every engine generates what transformers generates in float32, for one set of prompts."""

import ast
import fnmatch
import inspect
import random
import shlex
import statistics
import textwrap
from functools import lru_cache
from pathlib import Path

import pytest

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.inference.engine_features import ENGINES
from dobby_dagster.inference.models.shipped_models import shelf
from dobby_dagster_tests.helpers.checkpoints import make_checkpoint
from dobby_dagster_tests.helpers.every_engine import answers, parameter, running
from dobby_dagster_tests.helpers.greedy_reference import Output, Reference, assert_alike
from dobby_dagster_tests.helpers.local_engines import CONTENTS, LONG, PROMPT

# The built-in model reads a content of about 300 characters whole.
FUNCTIONS = [
    source
    for module in (textwrap, statistics, random, ast, fnmatch, shlex)
    for _, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and len(source := inspect.getsource(function)) < 300
]
UNCUT = [*CONTENTS, *(content for content in LONG if len(content) < 250)]
CONTENT_ALONE = PROMPT.model_copy(update={"user": "{content}"})
PROMPTS = {
    "qwen2": (UNCUT, PROMPT),
    "llama": (UNCUT, PROMPT),
    "built-in": (FUNCTIONS, CONTENT_ALONE),
}


@pytest.fixture(scope="module")
def folders(qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    llama = make_checkpoint(tmp_path_factory.mktemp("models") / "llama", "llama", seed=1)
    return {"qwen2": qwen2, "llama": llama, "built-in": shelf()[SMALL_MODEL]}


@lru_cache(maxsize=8)
def expected(folder: Path, model: str) -> list[Output]:
    contents, prompt = PROMPTS[model]
    return Reference(folder).outputs(contents, prompt, new=12)


@pytest.mark.parametrize(("name", "model"), [parameter(name, model) for name in ENGINES for model in PROMPTS])
def test_the_outputs_are_those_of_transformers(name: str, model: str, folders: dict[str, Path]) -> None:
    contents, prompt = PROMPTS[model]
    with running(name, folders[model], slots=8, max_new_tokens=12) as engine:
        assert_alike(ENGINES[name], answers(engine, contents, prompt), expected(folders[model], model))


@pytest.mark.parametrize("name", [parameter(name) for name in ENGINES if name != "server"])
def test_a_gguf_file_gives_what_its_folder_gives(name: str, qwen2: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    from dobby_dagster_tests.helpers.gguf_files import as_gguf

    contents, prompt = PROMPTS["qwen2"]
    with running(name, as_gguf(qwen2, tmp_path / "model.gguf"), slots=8, max_new_tokens=12) as engine:
        assert_alike(ENGINES[name], answers(engine, contents, prompt), expected(qwen2, "qwen2"))


def test_there_are_enough_prompts() -> None:
    assert min(len(contents) for contents, _ in PROMPTS.values()) >= 12
