"""The engine by URL: against transformers' own server, and against one that fails as servers fail."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from dobby_dagster.domain.errors import ModelError, ModelServerError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Failure, Generation, Request
from dobby_dagster.inference.engine_selection import engine_for
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.inference.recipe import recipe_of
from dobby_dagster.inference.remote.completions_client import ServerClient
from dobby_dagster_tests.helpers.command import PROCESS
from dobby_dagster_tests.helpers.local_engines import CONTENTS, PROMPT, requests
from dobby_dagster_tests.helpers.model_server import Reply, Scripted, engine_at, said


@pytest.fixture(scope="module")
def served(qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A real server: ``transformers serve`` with a small checkpoint; its URL and the model's name."""
    cache = tmp_path_factory.mktemp("hub")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(qwen2), "--host", "127.0.0.1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache)}
    process = subprocess.Popen(
        [*command, "--port", str(port), "--device", "cpu"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/v1"
    try:
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{url}/models").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        assert process.poll() is None, "the server ended"
        yield url, str(qwen2)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_real_server_answers_each_request_once(served: tuple[str, str]) -> None:
    url, name = served
    engine = engine_at(url, name)
    info = engine.load()
    assert (info.name, info.device) == (name, "server")
    answers = list(engine.infer(requests(CONTENTS[:10]), PROMPT))
    assert sorted(a.id for a in answers) == sorted(f"r{i}" for i in range(10))
    for answer in answers:
        assert isinstance(answer, Generation)
        assert answer.prompt_tokens > 50
        assert 0 < answer.output_tokens <= 8
        assert answer.confidence is None, "this server gives no probabilities, so nothing is claimed"
    assert engine.health().ok
    engine.close()
    assert len(list(engine.infer(requests(CONTENTS[:2]), PROMPT))) == 2
    engine.close()


@pytest.mark.slow
def test_records_are_summarized_by_a_real_server(served: tuple[str, str], tmp_path: Path) -> None:
    from dobby_dagster.domain.settings import DatabaseSettings
    from dobby_dagster.store.cozo_store import CozoStore
    from dobby_dagster_tests.helpers.records import put

    url, name = served
    store = CozoStore.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/records.db"))
    put(store, {f"k{i}": content for i, content in enumerate(CONTENTS[:12])})
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{tmp_path}/records.db",
        "DAGSTER_HOME": str(tmp_path / "home"),
        "DOBBY_MODEL_URL": url,
        "DOBBY_MODEL_SERVED_NAME": name,
        "DOBBY_MODEL_API_KEY": "not-to-be-seen",
        "DOBBY_INFERENCE_MAX_NEW_TOKENS": "8",
        "DOBBY_PIPELINE_FAILED_SHARE_LIMIT": "1",
    }
    command = [*PROCESS, "summarize", "--json"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    status = json.loads(ended.stdout)
    assert status["completed"] + status["failed"] == 12
    for file in (tmp_path / "home").rglob("*"):
        assert not file.is_file() or b"not-to-be-seen" not in file.read_bytes(), f"{file} holds the key"


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_busy_server_is_asked_again_when_it_says(form: str) -> None:
    wait = "0" if form == "seconds" else formatdate(time.time() - 5, usegmt=True)
    with Scripted(lambda n, body: (429, {"retry-after": wait}, {}) if n <= 2 else said()) as server:
        [answer] = engine_at(server.url).infer(requests(CONTENTS[:1]), PROMPT)
        assert isinstance(answer, Generation)
        assert answer.text == "It adds."
        assert len(server.asked) == 3


def test_a_server_that_asks_to_wait_is_waited_for() -> None:
    with Scripted(lambda n, body: (503, {"retry-after": "1"}, {}) if n == 1 else said()) as server:
        client = ServerClient(ModelSettings(url=server.url, served_name="small"), 1, dict, backoff_seconds=0.001)
        began = time.monotonic()
        client.complete({"messages": []})
        assert time.monotonic() - began >= 1


def test_no_more_requests_at_once_than_slots() -> None:
    def slow(number: int, body: dict[str, Any]) -> Reply:
        time.sleep(0.2)
        return said()

    with Scripted(slow) as server:
        engine = engine_at(server.url, slots=3)
        answers = list(engine.infer(requests(CONTENTS), PROMPT))
        assert len(answers) == len(CONTENTS)
        assert server.most == 3
        held = sum(a.slot_seconds for a in answers if isinstance(a, Generation))
        assert engine.slot_use.seconds == pytest.approx(held, rel=0.05)


def test_probabilities_that_the_server_gives_are_used() -> None:
    told = {"logprobs": {"content": [{"logprob": -0.5}, {"logprob": -1.5}]}, "finish_reason": "length"}
    with Scripted(lambda n, body: said(**told)) as server:
        [answer] = engine_at(server.url, stop=("END",), temperature=0.5, top_p=0.9).infer(requests(["x = 1"]), PROMPT)
        assert isinstance(answer, Generation)
        assert (answer.mean_logprob, answer.min_logprob, answer.finish_reason) == (-1.0, -1.5, "length")
        assert answer.confidence == pytest.approx(0.3679, abs=1e-3)
        [asked] = server.asked
        assert asked["stop"] == ["END"]
        assert (asked["top_p"], asked["max_tokens"], asked["model"]) == (0.9, 8, "small")
        _, before, after = PROMPT.filled("python")
        assert asked["messages"][1]["content"] == f"{before}x = 1{after}"
        assert "python" in asked["messages"][0]["content"]


def test_a_long_content_loses_its_middle() -> None:
    with Scripted(lambda n, body: said()) as server:
        content = "begin " + "x" * 10_000 + " end"
        [answer] = engine_at(server.url, max_prompt_tokens=100).infer([Request("r", content)], PROMPT)
        assert isinstance(answer, Generation)
        assert answer.truncated
        _, before, after = PROMPT.filled("")
        shown = server.asked[0]["messages"][1]["content"].removeprefix(before).removesuffix(after)
        assert len(shown) == 300
        assert shown.startswith("begin")
        assert "\n…\n" in shown
        assert shown.endswith(" end")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((400, {}, {"error": {"message": "too long"}}), "refused the record: HTTP 400: too long"),
        ((422, {}, {"detail": "no"}), "refused the record: HTTP 422: no"),
        ((200, {}, {"choices": []}), "answer is malformed"),
        (
            (200, {}, {"choices": [{"message": {"content": 7}}]}),
            "choices.0.message.content = 7 should be a valid string",
        ),
    ],
)
def test_a_record_that_is_refused_fails_alone(reply: Reply, message: str) -> None:
    with Scripted(lambda n, body: reply if "BAD" in body["messages"][1]["content"] else said()) as server:
        answers = {a.id: a for a in engine_at(server.url).infer(requests(["a", "BAD", "c"]), PROMPT)}
        failure = answers["r1"]
        assert isinstance(failure, Failure)
        assert message in str(failure.error)
        assert isinstance(answers["r0"], Generation)
        assert isinstance(answers["r2"], Generation)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((401, {}, {"error": "bad key"}), "answered HTTP 401: bad key"),
        ((404, {}, b"not found"), "answered HTTP 404: not found"),
        ((301, {"location": "http://127.0.0.1:1/"}, b""), "answered HTTP 301"),
        ((200, {}, b"<html>"), "is not an OpenAI-compatible server"),
        ((200, {}, []), "is not an OpenAI-compatible server"),
    ],
)
def test_what_is_wrong_for_all_records_stops_the_run(reply: Reply, message: str) -> None:
    with Scripted(lambda n, body: reply) as server, pytest.raises(ModelError, match=message):
        list(engine_at(server.url).infer(requests(CONTENTS), PROMPT))


def test_a_server_that_is_gone_stops_the_run_and_blames_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dobby_dagster.inference.remote.completions_client.ATTEMPTS", 2)
    with Scripted(lambda n, body: (503, {}, b"starting")) as server:
        engine = engine_at(server.url)
        with pytest.raises(ModelServerError, match=r"does not answer: HTTP 503: starting .*model.url"):
            list(engine.infer(requests(CONTENTS), PROMPT))
    health = engine_at("http://127.0.0.1:9/v1").health()
    assert not health.ok
    assert "does not answer" in health.message


def test_the_servers_models_are_looked_at_first() -> None:
    with Scripted(lambda n, body: said()) as server:
        with pytest.raises(ModelError, match=r"has no model 'large' \(there is: small\)"):
            engine_at(server.url, "large").load()
        assert server.asked == []
    with (
        Scripted(lambda n, body: said(), models=(200, {}, {"models": []})) as server,
        pytest.raises(ModelError, match="/models: it has no data"),
    ):
        engine_at(server.url).load()


def test_the_key_goes_to_the_server_and_nowhere_else() -> None:
    with Scripted(lambda n, body: said()) as server:
        settings = ModelSettings(url=server.url, served_name="small", api_key="s3cret")
        engine = engine_for(settings, InferenceSettings(slots=2))
        list(engine.infer(requests(CONTENTS[:2]), PROMPT))
        assert server.keys == ["Bearer s3cret"] * 2
        assert "s3cret" not in repr(settings)
        assert "s3cret" not in repr(engine.load())


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="served_name must say which model"):
        ModelSettings(url="http://127.0.0.1:1/v1")
    with pytest.raises(ValidationError, match="must be an http"):
        ModelSettings(url="ftp://x", served_name="m")
    with pytest.raises(ModelError, match="can't be guaranteed"):
        engine_at("http://127.0.0.1:1/v1", reproducible=True)


def test_the_recipe_names_the_model_and_not_the_server() -> None:
    prompt = PromptLibrary.load().get("summary")

    def recipe(url: str, name: str) -> str:
        return recipe_of(ModelSettings(url=url, served_name=name), InferenceSettings(), prompt).id

    assert recipe("http://a/v1", "m") == recipe("http://b/v1", "m") != recipe("http://a/v1", "n")
