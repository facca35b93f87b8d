"""vLLM under the engine contract: what it shares with no other engine. Its features are in test_engine_features.py."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Failure, Generation
from dobby_dagster.inference.engine_choice import Host, Need, candidates, chosen
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.recipe import recipe_of
from dobby_dagster_tests.helpers.every_engine import obstacle
from dobby_dagster_tests.helpers.local_engines import CONTENTS, PROMPT, edited, engine_on, requests

MISSING = obstacle("vllm")
# To import vLLM takes half a minute, and minutes on a busy machine.
pytestmark = pytest.mark.timeout(900)
needs_vllm = pytest.mark.skipif(bool(MISSING), reason=f"vllm: {MISSING}")


def test_auto_takes_it_on_cuda_where_it_is_installed_and_transformers_elsewhere() -> None:
    def without_vllm(*packages: str) -> str:
        return "vllm is not installed" if "vllm" in packages else ""

    installed = Host("x86_64", lambda *packages: "")
    assert chosen(candidates(Need("cuda", "bfloat16"), installed)) == "vllm"
    assert chosen(candidates(Need("cuda", "bfloat16"), Host("x86_64", without_vllm))) == "transformers"
    assert candidates(Need("cpu"), installed)["vllm"] == "it is for CUDA, and on the CPU only by model.engine = vllm"
    assert candidates(Need("cpu", requested="vllm"), installed) == {"vllm": ""}


@pytest.fixture
def engine(qwen2: Path) -> Iterator[LocalEngine]:
    made = engine_on(qwen2, "vllm")
    yield made
    made.close()


@needs_vllm
@pytest.mark.slow
def test_the_models_revision_is_in_the_fingerprint(engine: LocalEngine, qwen2: Path) -> None:
    info = engine.load()
    settings = ModelSettings(path=str(qwen2), engine="vllm", device="cpu")
    assert recipe_of(settings, InferenceSettings(), PROMPT).model_revision == info.revision
    assert info.revision == find_model(settings).revision


@needs_vllm
@pytest.mark.slow
def test_results_come_as_they_finish_and_the_caller_may_stop(engine: LocalEngine) -> None:
    answers = engine.infer(requests(CONTENTS), PROMPT)
    first = next(answers)
    assert isinstance(first, Generation)
    assert engine.slot_use.held > 0
    answers.close()
    assert engine.slot_use.held == 0
    vllm = engine._loaded.generator._engine  # type: ignore[union-attr, attr-defined]
    assert not vllm.has_unfinished_requests()
    assert len(list(engine.infer(requests(CONTENTS), PROMPT))) == len(CONTENTS)


@needs_vllm
@pytest.mark.slow
def test_a_content_that_is_too_long_loses_its_middle(engine: LocalEngine) -> None:
    [answer] = engine.infer(requests(["x = 1\n" * 5_000]), PROMPT)
    assert isinstance(answer, Generation)
    assert answer.truncated
    assert answer.prompt_tokens == engine.load().max_prompt_tokens


@needs_vllm
@pytest.mark.slow
def test_an_error_inside_vllm_fails_the_record_that_causes_it(engine: LocalEngine, monkeypatch: Any) -> None:
    expected = {answer.id: answer for answer in engine.infer(requests(CONTENTS), PROMPT)}
    assert engine._loaded is not None
    executor = engine._loaded.generator._engine.model_executor  # type: ignore[attr-defined]
    [bad] = engine._loaded.encoder.encode(requests(CONTENTS)[9:10], PROMPT)
    execute = executor.execute_model

    def flawed(scheduled: Any, *args: Any, **named: Any) -> Any:
        if any(new.prompt_token_ids == bad.prompt_ids for new in scheduled.scheduled_new_reqs):
            raise RuntimeError("CUDA error: an illegal instruction was encountered")
        return execute(scheduled, *args, **named)

    monkeypatch.setattr(executor, "execute_model", flawed)
    answers = {answer.id: answer for answer in engine.infer(requests(CONTENTS), PROMPT)}
    assert [name for name, answer in answers.items() if isinstance(answer, Failure)] == ["r9"]
    monkeypatch.undo()
    again = {answer.id: answer for answer in engine.infer(requests(CONTENTS), PROMPT)}
    for name, answer in expected.items():
        assert isinstance(answer, Generation)
        assert again[name].text == answer.text  # type: ignore[union-attr]
        assert name == "r9" or answers[name].text == answer.text  # type: ignore[union-attr]


@needs_vllm
@pytest.mark.slow
def test_outputs_that_are_not_finite_are_failures(qwen2: Path, tmp_path: Path) -> None:
    engine = engine_on(edited(qwen2, tmp_path / "broken", "model.norm.weight", math.nan), "vllm")
    answers = list(engine.infer(requests(CONTENTS[:3]), PROMPT))
    assert [a.error.code for a in answers if isinstance(a, Failure)] == ["degenerate_output"] * 3
    engine.close()


@needs_vllm
@pytest.mark.slow
def test_a_process_runs_one_model_by_vllm_and_says_so(engine: LocalEngine, qwen2: Path) -> None:
    engine.load()
    with pytest.raises(ModelError, match="vLLM runs one model in a process: close the other engine first"):
        engine_on(qwen2, "vllm").load()
    engine.close()
    other = engine_on(qwen2, "vllm")
    assert len(list(other.infer(requests(CONTENTS[:2]), PROMPT))) == 2
    other.close()


@needs_vllm
@pytest.mark.slow
def test_a_folder_with_code_or_another_architecture_stays_unread(qwen2: Path, tmp_path: Path) -> None:
    folder = edited(qwen2, tmp_path / "hostile")
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["Mamba2ForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_evil.py").write_text(f"open({str(tmp_path / 'proof')!r}, 'w')")
    (folder / "generation_config.json").write_text(json.dumps({"temperature": 5.0, "do_sample": True}))
    plain, hostile = engine_on(qwen2, "vllm"), engine_on(folder, "vllm")
    expected = [answer.text for answer in plain.infer(requests(CONTENTS[:3]), PROMPT) if isinstance(answer, Generation)]
    plain.close()
    found = [answer.text for answer in hostile.infer(requests(CONTENTS[:3]), PROMPT) if isinstance(answer, Generation)]
    hostile.close()
    assert found == expected
    assert not (tmp_path / "proof").exists()


# Prints what the process has opened, and then waits for its end.
PROGRAM = """
    import json, sys, time
    opened = []
    sys.addaudithook(
        lambda event, arguments: opened.append([event, repr(arguments[-1])])
        if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo") else None
    )
    from pathlib import Path
    import psutil
    from dobby_dagster_tests.helpers.local_engines import CONTENTS, PROMPT, engine_on, requests
    engine = engine_on(Path(sys.argv[1]), "vllm")
    count = len(list(engine.infer(requests(CONTENTS[:3]), PROMPT)))
    own = psutil.Process()
    print(json.dumps({
        "answers": count, "opened": opened, "children": [child.pid for child in own.children(recursive=True)],
        "listens": [each.laddr.ip for each in own.net_connections() if each.status == "LISTEN"],
    }), flush=True)
    if sys.argv[2] == "wait":
        time.sleep(600)
    if sys.argv[2] == "close":
        engine.close()
"""


def run(folder: Path, how: str) -> tuple[subprocess.Popen[str], dict[str, Any], list[str]]:
    """The program above, what it printed, and anything else that it wrote to standard output before."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(folder), how],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], env=os.environ,
    )  # fmt: skip
    assert process.stdout is not None
    others = []
    for line in process.stdout:
        if line.startswith('{"answers"'):
            return process, json.loads(line), others
        others.append(line)
    raise AssertionError(others)


@needs_vllm
@pytest.mark.slow
@pytest.mark.parametrize("how", ["close", "return", "SIGTERM", "SIGKILL"])
def test_nothing_of_vllm_outlives_the_process(how: str, qwen2: Path) -> None:
    process, said, others = run(qwen2, "wait" if how.startswith("SIG") else how)
    assert said["answers"] == 3
    assert others == [], "standard output is for results"
    if how.startswith("SIG"):
        process.send_signal(signal.Signals[how])
    status = process.wait(240)
    assert status == (-signal.Signals[how] if how.startswith("SIG") else 0)
    assert said["children"] == []


@needs_vllm
@pytest.mark.slow
def test_vllm_reaches_no_network_and_listens_on_loopback_only(qwen2: Path) -> None:
    process, said, _ = run(qwen2, "close")
    assert process.wait(240) == 0
    assert said["opened"] == []
    assert set(said["listens"]) <= {"127.0.0.1", "::1"}
