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
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.errors import InferenceError
from dobby_dagster.domain.http_client import HttpClient
from dobby_dagster.domain.http_reply import BadAnswerError, NoAnswerError
from dobby_dagster.domain.http_reply import Reply as Received
from dobby_dagster.inference.engine import Failure, Generation
from dobby_dagster.inference.remote.completion import Completion, read
from dobby_dagster.inference.remote.reasoning import without_thoughts
from dobby_dagster_tests.helpers.model_server import GOOD, Scripted, ask, good, said


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
