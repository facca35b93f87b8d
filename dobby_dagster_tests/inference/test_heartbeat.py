"""Every engine gives a sign of progress with each pass through the model, or with each reply of a server."""

from pathlib import Path

import pytest

from dobby_dagster.domain import heartbeat
from dobby_dagster.inference.engine import Generation
from dobby_dagster_tests.helpers.local_engines import BACKENDS, CONTENTS, PROMPT, engine_on, requests
from dobby_dagster_tests.helpers.model_server import Reply, Scripted, engine_at, said


@pytest.fixture
def counters() -> memoryview:
    return memoryview(bytearray(heartbeat.BYTES)).cast("Q")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_local_engine_gives_one_for_each_pass(qwen2: Path, backend: str, counters: memoryview) -> None:
    engine = engine_on(qwen2, backend)
    with heartbeat.counted_in(counters):
        engine.load()
        assert counters[heartbeat.TOKENS] == 0, "loading is no progress of tokens"
        [answer] = engine.infer(requests(CONTENTS[:1]), PROMPT)
    assert isinstance(answer, Generation)
    assert counters[heartbeat.TOKENS] == answer.output_tokens
    engine.close()


def test_a_server_gives_one_for_each_reply_and_for_each_failed_attempt(counters: memoryview) -> None:
    def reply(number: int, body: dict) -> Reply:
        return (503, {"retry-after": "0"}, {}) if number <= 2 else said("A text.")

    with Scripted(reply) as server, heartbeat.counted_in(counters):
        assert len(list(engine_at(server.url, slots=1).infer(requests(CONTENTS[:2]), PROMPT))) == 2
    assert counters[heartbeat.TOKENS] == 4


def test_a_token_is_expected_only_while_an_answer_is_computed(counters: memoryview) -> None:
    seen = []

    def answers():  # noqa: ANN202
        for number in range(2):
            seen.append(counters[heartbeat.AWAITING_TOKEN])
            yield number
        raise RuntimeError

    with heartbeat.counted_in(counters), pytest.raises(RuntimeError):
        for _ in heartbeat.awaiting_tokens(answers()):
            seen.append(counters[heartbeat.AWAITING_TOKEN])
    assert seen == [1, 0, 1, 0]
    assert counters[heartbeat.AWAITING_TOKEN] == 0
