"""Answers of a model server that is broken, hostile or of another dialect: whatever one brings costs its record only."""

import gc
import gzip
import json
import os
import random
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dobby_dagster.domain.errors import InferenceError, ModelError
from dobby_dagster.domain.http_client import HttpClient
from dobby_dagster.domain.http_reply import BadAnswerError, NoAnswerError
from dobby_dagster.domain.http_reply import Reply as Received
from dobby_dagster.inference.engine import Failure, Generation, Request
from dobby_dagster.inference.remote.completion import Completion, read
from dobby_dagster.inference.remote.dialect import share_that_fits
from dobby_dagster.inference.remote.error_reply import ErrorReply
from dobby_dagster.inference.remote.reasoning import without_thoughts
from dobby_dagster_tests.helpers.local_engines import PROMPT
from dobby_dagster_tests.helpers.model_server import Reply, Scripted, engine_at, said

GOOD = {"choices": [{"message": {"content": "It adds two numbers."}, "finish_reason": "stop"}]}


def good(**more: Any) -> dict[str, Any]:
    return {"choices": [GOOD["choices"][0] | more]}


def ask(reply: Reply | Callable[[int, dict[str, Any]], Reply], **settings: Any) -> Generation | Failure:
    """What becomes of the one record that gets ``reply``; all others around it must be summarised."""
    scripted = reply if callable(reply) else lambda n, body: reply
    script = lambda n, body: scripted(n, body) if "BAD" in body["messages"][-1]["content"] else said("Others.")  # noqa: E731
    with Scripted(script) as server:
        wanted = [Request("bad", "BAD"), *(Request(f"r{i}", f"x = {i}") for i in range(5))]
        engine = engine_at(server.url, **({"slots": 2} | settings))
        answers = {answer.id: answer for answer in engine.infer(wanted, PROMPT)}
        engine.close()
    assert len(answers) == 6
    for i in range(5):
        assert isinstance(answers[f"r{i}"], Generation)
    return answers["bad"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (rb'{"choices":[{"message":{"content":"half \ud83d of it"}}]}', "not valid JSON"),
        (GOOD | {"usage": [1]}, "usage = [1] should be"),
        (GOOD | {"usage": {"completion_tokens": 10**30}}, "usage.completion_tokens = 1000000"),
        (GOOD | {"usage": {"completion_tokens": "many"}}, "usage.completion_tokens = 'many'"),
        (GOOD | {"usage": {"prompt_tokens": -5}}, "usage.prompt_tokens = -5"),
        (b'{"usage":' + b"9" * 5_000 + b"}", "not valid JSON"),
        (b"[" * 200_000, "recursion limit"),
        (b'{"a":' * 100_000, "recursion limit"),
        (b"{not json", "not valid JSON"),
        (b"<html>gateway</html>", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        ([], "not a JSON object"),
        (None, "not a JSON object"),
        ({"choices": []}, "choices = []"),
        ({"choices": {"0": 1}}, "choices = {'0': 1}"),
        ({"choices": [{"message": {"content": 7}}]}, "content = 7"),
        ({"choices": [{"message": [1]}]}, "message = [1]"),
        (GOOD | {"choices": [{"message": {"content": "word " * 1_000_000}}]}, "longer than 8 tokens can be"),
        (good(finish_reason="content_filter"), "filtered"),
        ({"choices": [{"message": {"content": None, "refusal": "I can't."}}]}, "the model refused: I can't."),
    ],
)
def test_a_malformed_answer_fails_its_record_alone_in_words(body: Any, says: str) -> None:
    failure = ask((200, {}, body))
    assert isinstance(failure, Failure)
    assert says in str(failure.error)
    assert len(str(failure.error)) < 400


@pytest.mark.parametrize(
    ("headers", "body", "says"),
    [
        ({"content-encoding": "gzip"}, b"not gzip at all", "is labelled gzip, and is not"),
        (
            {"content-encoding": "gzip"},
            gzip.compress(json.dumps(GOOD).encode(), mtime=0)[:-9],
            "gzip answer is truncated",
        ),
        ({"content-encoding": "br"}, b"x", "compressed by br, which was not requested"),
        ({"content-encoding": "gzip"}, gzip.compress(b" " * 50_000_000), "8,000,000 bytes when decompressed"),
        ({"content-encoding": "gzip, gzip"}, gzip.compress(gzip.compress(b" " * 50_000_000)), "when decompressed"),
        ({}, b" " * 9_000_000, "longer than 8,000,000 bytes"),
    ],
)
def test_a_broken_or_endless_body_fails_its_record_alone(headers: dict[str, str], body: bytes, says: str) -> None:
    failure = ask((200, headers, body))
    assert isinstance(failure, Failure)
    assert says in str(failure.error)


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_a_compressed_answer_is_read(compress: Callable[[bytes], bytes]) -> None:
    encoding = "gzip" if compress is gzip.compress else "deflate"
    answer = ask((200, {"content-encoding": encoding}, compress(json.dumps(GOOD).encode())))
    assert isinstance(answer, Generation)
    assert answer.text == "It adds two numbers."


def _drip(write: Callable[[bytes], object]) -> None:
    for _ in range(300):
        write(b" ")
        time.sleep(0.1)


def _endless(write: Callable[[bytes], object]) -> None:
    while True:
        write(b" " * 1_000_000)


@pytest.mark.parametrize(("body", "error"), [(_drip, NoAnswerError), (_endless, BadAnswerError)])
def test_a_request_ends_however_slowly_or_much_the_server_sends(body: Any, error: type[Exception]) -> None:
    with Scripted(lambda n, asked: (200, {}, body)) as server:
        client = HttpClient(server.url, {}, timeout_seconds=1, connections=1)
        began = time.monotonic()
        with pytest.raises(error):
            client.request("POST", "/chat/completions", b"{}")
        client.close()
        assert time.monotonic() - began < 20  # it used to be minutes


def test_a_client_that_is_closed_gives_up_what_is_under_way() -> None:
    with Scripted(lambda n, asked: (200, {}, _drip)) as server:
        client = HttpClient(server.url, {}, timeout_seconds=60, connections=1)
        threading.Timer(0.3, client.close).start()
        with pytest.raises(NoAnswerError, match="closed"):
            client.request("POST", "/chat/completions", b"{}")
        with pytest.raises(NoAnswerError, match="closed"):
            client.request("GET", "/models")


def test_a_client_that_is_dropped_leaves_no_thread_and_no_file_behind() -> None:
    def threads() -> int:
        return sum(thread.name == "dobby-http" for thread in threading.enumerate())

    before, files = threads(), len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with Scripted(lambda n, asked: said()) as server:
        for _ in range(5):
            HttpClient(server.url, {}, 5, 1).request("GET", "/models")
    gc.collect()
    deadline = time.monotonic() + 60
    while threads() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threads() <= before
    assert not files or len(os.listdir("/proc/self/fd")) <= files + 5


@pytest.mark.parametrize("value", [float("nan"), None, 1_000.0, float("-inf"), -9_999.0, "low", True, 10**400])
def test_a_log_probability_that_is_none_is_unknown(value: Any) -> None:
    told = {"content": [{"logprob": -0.1}, {"logprob": value}]}
    body = json.dumps(good(logprobs=told)) if value != 10**400 else '{"choices":[{"message":{"content":"It adds."}}]}'
    answer = ask((200, {}, body.encode()))
    assert isinstance(answer, Generation)
    assert (answer.confidence, answer.mean_logprob, answer.min_logprob) == (None, None, None)


@pytest.mark.parametrize(
    "told", [None, [], "x", {"content": None}, {"content": [1]}, {"content": [{}]}, {"tokens": []}]
)
def test_probabilities_in_another_form_are_unknown(told: Any) -> None:
    answer = ask((200, {}, good(logprobs=told)))
    assert isinstance(answer, Generation)
    assert answer.confidence is None


def test_a_probability_of_one_that_was_rounded_up_is_one() -> None:
    answer = ask((200, {}, good(logprobs={"content": [{"logprob": 1e-7}]})))
    assert isinstance(answer, Generation)
    assert answer.confidence == 1.0


@pytest.mark.parametrize(
    ("reason", "tokens", "expected"),
    [
        ("stop", 3, "stop"),
        ("length", 3, "length"),
        ("MAX_TOKENS", 3, "length"),
        ("eos", 3, "stop"),
        (None, 3, "unknown"),
        (None, 8, "length"),
        (None, None, "unknown"),
    ],
)
def test_why_an_answer_ended_is_kept(reason: str | None, tokens: int | None, expected: str) -> None:
    answer = ask((200, {}, good(finish_reason=reason) | {"usage": {"completion_tokens": tokens}}))
    assert isinstance(answer, Generation)
    assert (answer.finish_reason, answer.cut_off) == (expected, expected == "length")
    assert answer.output_tokens == tokens


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>\nOkay.\n</think>\n\nAdds two numbers.", "Adds two numbers."),
        ("<think></think>Adds two numbers.", "Adds two numbers."),
        ("<THINKING>a</THINKING> <think>b</think> Adds.", "Adds."),
        ("<think>a <think>b</think> c</think>Adds.", "Adds."),
        ("Okay, the user wants one.\n</think>\n\nAdds.", "Adds."),
        ("[THINK]a[/THINK]Adds.", "Adds."),
        ("◁think▷a◁/think▷Adds.", "Adds."),
        ("<seed:think>a</seed:think>Adds.", "Adds."),
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Adds.<|return|>",
            "Adds.",
        ),
        ("<|channel|>analysis<|message|>Hm, let me", ""),
        ("<think>Okay, let me look", ""),
        ("<think>a</think>", ""),
        ("Strips <think> blocks from an answer.", "Strips <think> blocks from an answer."),
        ("Removes all up to </think> from a text.", "Removes all up to </think> from a text."),
        ("Finds <think> and\n</think> in a text.", "Finds <think> and\n</think> in a text."),
    ],
)
def test_thoughts_are_no_part_of_the_answer(text: str, answer: str) -> None:
    assert without_thoughts(text) == answer


@given(st.text(), st.sampled_from(["think", "thinking", "reasoning"]), st.text(alphabet="abc <>/.\n", max_size=40))
def test_thoughts_in_front_never_change_the_answer(answer: str, tag: str, thought: str) -> None:
    plain = without_thoughts(answer)
    assert without_thoughts(f"<{tag}>{thought}</{tag}>{answer}") == plain
    assert without_thoughts(plain) == plain or "<" in answer or "[" in answer or "◁" in answer


@pytest.mark.parametrize(
    "message",
    [
        {"content": "<think>Let me see"},
        {"content": None, "reasoning_content": "Let me see"},
        {"content": "", "reasoning": "Let me see"},
        {"content": [{"type": "thinking", "thinking": "Let me see"}]},
    ],
)
def test_an_answer_of_thoughts_only_is_a_failure_that_says_what_to_do(message: dict[str, Any]) -> None:
    failure = ask((200, {}, {"choices": [{"message": message, "finish_reason": "length"}]}))
    assert isinstance(failure, Failure)
    assert "thoughts only" in str(failure.error)
    assert "inference.max_new_tokens" in str(failure.error)


def test_a_content_in_parts_is_its_text() -> None:
    parts = [{"type": "thinking", "thinking": [1]}, {"type": "text", "text": "It "}, {"type": "text", "text": "adds."}]
    answer = ask((200, {}, {"choices": [{"message": {"content": parts, "reasoning_content": "Hm."}}]}))
    assert isinstance(answer, Generation)
    assert answer.text == "It adds."


BUSY = [
    {"error": {"message": "Rate limit exceeded: free-models-per-min", "code": 429}},
    {"error": {"message": "no", "code": "503"}},
    {"error": {"message": "The engine is currently overloaded", "type": "server_error"}},
    {"error": "Too many requests"},
    {"object": "error", "message": "rate_limit_exceeded"},
    {"choices": [{"message": {"content": ""}, "finish_reason": "error", "error": {"message": "Overloaded"}}]},
]


@pytest.mark.parametrize("body", BUSY)
def test_an_error_inside_an_answer_200_is_tried_again(body: dict[str, Any]) -> None:
    calls: list[int] = []

    def reply(number: int, asked: dict[str, Any]) -> Reply:
        calls.append(number)
        return (200, {}, body) if len(calls) == 1 else said()

    assert isinstance(ask(reply), Generation)
    assert len(calls) == 2


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, *range(520, 525), 529, 530, 599])
def test_passing_statuses_are_tried_again(status: int) -> None:
    first: list[int] = []

    def reply(number: int, asked: dict[str, Any]) -> Reply:
        first.append(number)
        return (status, {"retry-after": "0"}, b"<html>") if len(first) == 1 else said()

    assert isinstance(ask(reply), Generation)


@pytest.mark.parametrize(
    "wait", ["²", "9" * 400, "-5", "Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 GMT", "soon", ""]
)
def test_any_retry_after_is_understood_or_ignored(wait: str) -> None:
    seconds = Received(429, {"retry-after": wait}, b"").retry_after
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422, 451, 501])
def test_a_refusal_of_one_record_is_not_the_servers_and_one_of_all_is(status: int) -> None:
    failure = ask((status, {}, {"error": {"message": "blocked by a filter"}}))
    assert isinstance(failure, Failure)
    assert f"HTTP {status}: blocked by a filter" in str(failure.error)
    with (
        Scripted(lambda n, body: (status, {}, {"error": "blocked"})) as server,
        pytest.raises(ModelError, match="blocked"),
    ):
        list(engine_at(server.url).infer([Request("r", "x")], PROMPT))


@pytest.mark.parametrize("wait", ["²", "0", "9" * 400])
def test_a_server_that_is_busy_for_one_record_only_fails_that_record(
    wait: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dobby_dagster.inference.remote.completions_client.ATTEMPTS", 2)
    monkeypatch.setattr("dobby_dagster.inference.remote.completions_client.LONGEST_WAIT", 0.2)
    headers = {"retry-after": wait.encode().decode("latin-1")}
    failure = ask((429, headers, {"error": "tokens per minute: request too big"}))
    assert isinstance(failure, Failure)
    assert "failed on the record: HTTP 429" in str(failure.error)


def test_a_refused_connection_is_said_as_the_system_says_it() -> None:
    client = HttpClient("http://127.0.0.1:9", {}, 5, 1)
    with pytest.raises(NoAnswerError, match="^Connection refused$"):
        client.request("GET", "/")
    client.close()


def test_a_record_at_which_the_server_breaks_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dobby_dagster.inference.remote.completions_client.ATTEMPTS", 2)
    failure = ask((500, {"retry-after": "0"}, {"error": "CUDA error"}), slots=1)
    assert isinstance(failure, Failure)
    assert "failed on the record: HTTP 500: CUDA error" in str(failure.error)


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
    "names", [("logprobs",), ("seed",), ("max_tokens",), ("temperature",), ("logprobs", "seed", "max_tokens", "stop")]
)
def test_a_parameter_that_the_server_does_not_know_is_left_out_once_for_all(
    names: tuple[str, ...], form: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Scripted(refuses(*names, form=form)) as server:
        engine = engine_at(server.url, slots=1, stop=("END",))
        answers = list(engine.infer([Request(f"r{i}", f"x = {i}") for i in range(5)], PROMPT))
        engine.close()
    assert all(isinstance(answer, Generation) for answer in answers)
    assert len(server.asked) == 5 + len(names), "each parameter is refused once"
    assert not set(names) & server.asked[-1].keys()
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["choices", "usage", "message", "logprobs", "finish_reason", "content", "error"]))
def test_any_answer_is_a_completion_or_trouble_or_an_error_in_words(value: Any, place: str) -> None:
    choice: dict[str, Any] = {"message": {"content": "It adds."}, "finish_reason": "stop"}
    body: dict[str, Any] = {"choices": [choice], "usage": {"completion_tokens": 3}}
    target = {"message": choice, "logprobs": choice, "finish_reason": choice, "content": choice["message"]}.get(
        place, body
    )
    target[place] = value
    _settles(json.dumps(body).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error_in_words(body: bytes) -> None:
    _settles(body)


@given(st.integers(0, 2**32))
def test_a_good_answer_with_any_byte_changed_settles(seed: int) -> None:
    chance = random.Random(seed)
    body = bytearray(
        json.dumps(good(logprobs={"content": [{"logprob": -0.5}]}) | {"usage": {"prompt_tokens": 5}}).encode()
    )
    body[chance.randrange(len(body))] = chance.randrange(256)
    _settles(bytes(body))


def _settles(body: bytes) -> None:
    try:
        found = read(Received(200, {}, body))
        if isinstance(found, Completion):
            found.text().encode()
            assert all(value <= 0 for value in found.logprobs)
    except (ValueError, InferenceError) as error:
        assert str(error)
