"""What every engine does: the fake one of the tests, and transformers on Qwen2 and Llama checkpoints."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Engine, Failure, Generation, Request
from dobby_dagster.inference.model_folder import check_folder
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.inference.transformers_engine import TransformersEngine
from dobby_dagster_tests.fakes import FakeEngine

PROMPT = PromptLibrary.load().get("summary")
CONTENTS = [f"def f{i}(x):\n    return {'x + ' * (i % 9)}{i}" for i in range(23)]


def engine_on(path: Path, **settings: object) -> TransformersEngine:
    inference = InferenceSettings.model_validate({"slots": 4, "max_new_tokens": 8} | settings)
    return TransformersEngine(check_folder(path), ModelSettings(device="cpu", dtype="float32"), inference)


@pytest.fixture(params=["fake", "qwen2", "llama"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made: Engine = FakeEngine() if request.param == "fake" else engine_on(request.getfixturevalue(request.param))
    made.load()
    yield made
    made.close()


def requests(contents: list[str]) -> list[Request]:
    return [Request(f"r{i}", content, "python") for i, content in enumerate(contents)]


def test_each_request_is_answered_once_by_its_own_identifier(engine: Engine) -> None:
    answers = list(engine.infer(requests(CONTENTS), PROMPT))
    assert sorted(answer.id for answer in answers) == sorted(f"r{i}" for i in range(len(CONTENTS)))


def test_no_requests_no_answers(engine: Engine) -> None:
    assert list(engine.infer([], PROMPT)) == []


def test_requests_are_pulled_in_bounded_numbers(engine: Engine) -> None:
    pulled = 0

    def stream() -> Iterator[Request]:
        nonlocal pulled
        for request in requests(CONTENTS * 20):
            pulled += 1
            yield request

    answers = engine.infer(stream(), PROMPT)
    next(answers)
    assert pulled <= engine.slots * 4


def test_figures_make_sense(engine: Engine) -> None:
    for answer in engine.infer(requests(CONTENTS), PROMPT):
        assert isinstance(answer, Generation)
        assert answer.min_logprob <= answer.mean_logprob <= 0
        assert answer.prompt_tokens > 0
        assert answer.seconds > 0
        assert 1 <= answer.batch_size <= engine.slots
        assert answer.finish_reason in ("stop", "length")


def test_information_health_and_benchmark(engine: Engine) -> None:
    info = engine.load()
    assert info.parameters > 0
    assert info.device == "cpu"
    assert engine.health().ok
    result = engine.benchmark(6)
    assert result.requests == 6
    assert result.records_per_minute > 0


def test_a_closed_engine_can_be_used_again(engine: Engine) -> None:
    engine.close()
    assert len(list(engine.infer(requests(CONTENTS[:2]), PROMPT))) == 2


@pytest.mark.parametrize("kind", ["fake", "qwen2"])
def test_a_request_that_fails_alone_is_its_own_failure(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [*CONTENTS[:9], "FAIL please"]
    if kind == "fake":
        answers = list(FakeEngine().infer(requests(contents), PROMPT))
    else:
        engine = engine_on(request.getfixturevalue(kind))
        engine.load()
        assert engine._loaded is not None
        decoder = engine._loaded.decoder
        generate, bad = decoder.generate, engine._loaded.encoder.encode(requests(contents)[-1:], PROMPT)[0].ids
        monkeypatch.setattr(
            decoder, "generate", lambda prompts, seeds: _raise() if bad in prompts else generate(prompts, seeds)
        )
        answers = list(engine.infer(requests(contents), PROMPT))
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    assert [failure.id for failure in failures] == ["r9"]
    assert len(answers) == 10
    assert failures[0].error.code == "inference"


def _raise() -> list:
    raise RuntimeError("this one is bad")
