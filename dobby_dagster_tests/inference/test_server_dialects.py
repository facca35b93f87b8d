"""What one model server supports and another does not: parameters, the length of a prompt, names of models."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.engine import Failure, Generation, Request
from dobby_dagster.inference.remote.dialect import share_that_fits
from dobby_dagster.inference.remote.error_reply import ErrorReply
from dobby_dagster_tests.helpers.local_engines import PROMPT
from dobby_dagster_tests.helpers.model_server import Reply, Scripted, ask, engine_at, said


def refuses(*names: str, status: int = 400, form: str = "openai") -> Callable[[int, dict[str, Any]], Reply]:
    """A server that does not know the parameters ``names``."""

    def reply(number: int, body: dict[str, Any]) -> Reply:
        found = next((name for name in names if name in body), None)
        if found is None:
            return said()
        if form == "openai":
            return (
                status,
                {},
                {"error": {"message": f"Unsupported parameter: '{found}' is not supported", "param": found}},
            )
        if form == "fastapi":
            detail = [{"type": "extra_forbidden", "loc": ["body", found], "msg": "Extra inputs are not permitted"}]
            return 422, {}, {"detail": detail}
        return status, {}, {"error": f"{found} is not supported by this model"}

    return reply


@pytest.mark.parametrize("form", ["openai", "fastapi", "plain"])
@pytest.mark.parametrize(
    "names",
    [
        ("logprobs",),
        ("seed",),
        ("max_tokens",),
        ("temperature",),
        ("logprobs", "seed", "max_tokens", "stop"),
        ("top_k", "repetition_penalty"),
    ],
)
def test_a_parameter_that_the_server_does_not_know_is_left_out_once_for_all(
    names: tuple[str, ...], form: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Scripted(refuses(*names, form=form)) as server:
        sampling = {"temperature": 0.5, "top_k": 9, "repetition_penalty": 1.5}
        engine = engine_at(server.url, slots=1, stop=("END",), **sampling)
        answers = list(engine.infer([Request(f"r{i}", f"x = {i}") for i in range(5)], PROMPT))
        engine.close()
    assert all(isinstance(answer, Generation) for answer in answers)
    assert len(server.asked) == 5 + len(names), "each parameter is refused once"
    assert not set(names) & server.asked[-1].keys()
    assert sampling.items() - {(name, sampling.get(name)) for name in names} <= server.asked[-1].items()
    assert server.asked[-1].get("max_completion_tokens") == (8 if "max_tokens" in names else None)
    notes = [record.getMessage() for record in caplog.records if record.name == "dobby.server"]
    assert len(notes) == len(names)
    assert all(any(f"'{name}'" in note for note in notes) for name in names)


def test_a_server_without_a_system_role_gets_one_message() -> None:
    def reply(number: int, body: dict[str, Any]) -> Reply:
        if len(body["messages"]) == 2:
            return 400, {}, {"error": {"message": "System role not supported"}}
        return said()

    with Scripted(reply) as server:
        [answer] = engine_at(server.url).infer([Request("r", "x = 1")], PROMPT)
    assert isinstance(answer, Generation)
    [message] = server.asked[-1]["messages"]
    assert message["role"] == "user"
    assert "x = 1" in message["content"]


def test_a_refusal_that_only_speaks_of_a_parameter_drops_none() -> None:
    says = {"error": {"message": "content is not allowed: it holds seed = 1"}}

    def reply(number: int, body: dict[str, Any]) -> Reply:
        return (400, {}, says) if "BAD" in body["messages"][-1]["content"] else said()

    with Scripted(reply) as server:
        answers = list(engine_at(server.url, slots=1).infer([Request("a", "BAD"), Request("b", "x")], PROMPT))
        assert [type(answer) for answer in answers] == [Failure, Generation]
        assert "seed" in server.asked[-1]


CONTEXT = [
    "This model's maximum context length is 4096 tokens. However, you requested {n} tokens ({n} in the messages, 8 in "
    "the completion). Please reduce the length of the messages or completion.",
    "This model's maximum context length is 4,096 tokens. However, your request has {n} input tokens.",
    "the request exceeds the available context size, try increasing it",
    "request ({n} tokens) exceeds the available context size (4096 tokens), try increasing it",
    "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: {n} `inputs` tokens and 8 `max_new_tokens`",
    "The input ({n} tokens) is longer than the model's context length (4096 tokens).",
    "prompt is too long: {n} tokens > 4096 maximum",
    "Prompt contains {n} tokens and 0 draft tokens, too large for model with 4096 maximum context length",
    "Trying to keep the first {n} tokens when context the overflows. However, the model is loaded with context length "
    "of only 4096 tokens, which is not enough",
    "Input too long.",
]


@pytest.mark.parametrize("message", CONTEXT)
def test_a_content_that_the_server_can_not_hold_is_cut_to_what_it_says(message: str) -> None:
    def reply(number: int, body: dict[str, Any]) -> Reply:
        tokens = len(body["messages"][-1]["content"]) // 2
        if tokens + 8 > 4096:
            return 400, {}, {"error": {"message": message.format(n=tokens)}}
        return said()

    with Scripted(reply) as server:
        engine = engine_at(server.url, max_prompt_tokens=100_000)
        answers = {a.id: a for a in engine.infer([Request("long", "x" * 40_000), Request("short", "x = 1")], PROMPT)}
        engine.close()
    long, short = answers["long"], answers["short"]
    assert isinstance(long, Generation)
    assert isinstance(short, Generation)
    assert (long.truncated, short.truncated) == (True, False)
    kept = max(
        len(body["messages"][-1]["content"]) for body in server.asked if len(body["messages"][-1]["content"]) < 8_185
    )
    assert kept > 3_000, "no more is cut than it takes"


def test_a_server_that_holds_nothing_fails_the_record_in_words() -> None:
    failure = ask(
        (400, {}, {"error": {"message": "maximum context length is 16 tokens", "code": "context_length_exceeded"}})
    )
    assert isinstance(failure, Failure)
    assert "does not fit the model server's context" in str(failure.error)


@given(st.text(max_size=200))
@example("maximum context length is 0 tokens")
@example("context length " + "9" * 400)
def test_what_fits_is_a_share(message: str) -> None:
    assert 0 < share_that_fits(ErrorReply(400, message), 40) <= 0.9


@pytest.mark.parametrize(
    ("asked", "listed", "sent"),
    [
        ("qwen2.5", ["qwen2.5:latest"], "qwen2.5:latest"),
        ("qwen2.5:latest", ["qwen2.5"], "qwen2.5"),
        ("qwen2.5", ["qwen2.5:7b", "qwen2.5"], "qwen2.5"),
        ("small", [], "small"),
    ],
)
def test_a_name_without_a_tag_is_the_latest(asked: str, listed: list[str], sent: str) -> None:
    with Scripted(lambda n, body: said(), models=(200, {}, {"data": [{"id": name} for name in listed]})) as server:
        engine = engine_at(server.url, asked)
        list(engine.infer([Request("r", "x")], PROMPT))
        assert server.asked[0]["model"] == sent


def test_a_server_is_probed_by_the_name_that_it_gives_the_model() -> None:
    def reply(number: int, body: dict[str, Any]) -> Reply:
        if body["model"] != "qwen2.5:latest":
            return 404, {}, {"error": "no such model"}
        return (403, {}, {"error": "blocked"}) if "BAD" in body["messages"][-1]["content"] else said()

    with Scripted(reply, models=(200, {}, {"data": [{"id": "qwen2.5:latest"}]})) as server:
        [failure] = engine_at(server.url, "qwen2.5").infer([Request("r", "BAD")], PROMPT)
        assert isinstance(failure, Failure)


@pytest.mark.parametrize(
    "body", [b"", b"[", {"data": [1]}, {"data": [{"id": None}]}, [], None, {"error": "context length 5"}]
)
def test_a_list_of_models_that_is_none_stops_the_run_in_words(body: Any) -> None:
    for status in (200, 400):
        with (
            Scripted(lambda n, asked: said(), models=(status, {}, body)) as server,
            pytest.raises(ModelError, match=r"not an OpenAI-compatible server|answered HTTP 400"),
        ):
            engine_at(server.url).load()


def test_a_name_that_the_server_does_not_have_is_an_error_with_the_nearest() -> None:
    with (
        Scripted(lambda n, body: said(), models=(200, {}, {"data": [{"id": "qwen2.5:7b"}]})) as server,
        pytest.raises(ModelError, match=r"has no model 'qwen2.5' \(did you mean 'qwen2.5:7b'"),
    ):
        engine_at(server.url, "qwen2.5").load()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_this_machine_is_asked_without_a_proxy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Scripted(lambda n, body: said()) as server:
        [answer] = engine_at(server.url).infer([Request("r", "x")], PROMPT)
        assert isinstance(answer, Generation)
