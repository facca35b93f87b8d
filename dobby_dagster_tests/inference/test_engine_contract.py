"""What every engine does: the fake one of the tests, and all backends on Qwen2 and Llama checkpoints."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dobby_dagster.inference.engine import Engine, Failure, Generation, Request
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.local_engines import BACKENDS, CONTENTS, DEVICE, PROMPT, engine_on, requests


@pytest.fixture(
    scope="module", params=["fake", *(f"{model} {backend}" for model in ("qwen2", "llama") for backend in BACKENDS)]
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    model, _, backend = request.param.partition(" ")
    made: Engine = FakeEngine() if model == "fake" else engine_on(request.getfixturevalue(model), backend)
    made.load()
    yield made
    made.close()


def test_each_request_is_answered_once_by_its_own_identifier(engine: Engine) -> None:
    answers = list(engine.infer(requests(CONTENTS), PROMPT))
    assert sorted(answer.id for answer in answers) == sorted(f"r{i}" for i in range(len(CONTENTS)))


def test_no_requests_no_answers(engine: Engine) -> None:
    assert list(engine.infer([], PROMPT)) == []


def test_an_empty_content_is_a_failure_and_no_invention(engine: Engine) -> None:
    answers = {answer.id: answer for answer in engine.infer(requests(["", CONTENTS[0], " \n\t"]), PROMPT)}
    assert {name: type(answer) for name, answer in answers.items()} == {"r0": Failure, "r1": Generation, "r2": Failure}


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
    answers = list(engine.infer(requests(CONTENTS), PROMPT))
    assert len(answers) == len(CONTENTS)
    for answer in answers:
        assert isinstance(answer, Generation)
        assert answer.min_logprob <= answer.mean_logprob <= 0
        assert answer.prompt_tokens > 0
        assert 0 < answer.seconds <= answer.slot_seconds
        assert answer.finish_reason in ("stop", "length")


def test_information_and_health(engine: Engine) -> None:
    info = engine.load()
    assert info.parameters > 0
    assert info.device == ("cpu" if isinstance(engine, FakeEngine) else DEVICE)
    assert engine.health().ok


def test_a_closed_engine_can_be_used_again(engine: Engine) -> None:
    engine.close()
    assert len(list(engine.infer(requests(CONTENTS[:2]), PROMPT))) == 2


@pytest.mark.parametrize("backend", ["fake", *BACKENDS])
def test_a_request_that_fails_alone_is_its_own_failure(
    backend: str, qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [*CONTENTS[:9], "FAIL please"]
    if backend == "fake":
        answers = list(FakeEngine().infer(requests(contents), PROMPT))
    else:
        engine = engine_on(qwen2, backend)
        engine.load()
        assert engine._loaded is not None
        generator = engine._loaded.generator
        run = generator.run

        def flawed(sequences: list[Sequence]) -> Iterator[Sequence]:
            bad = [sequence for sequence in sequences if sequence.request.id == "r9"]
            for count, sequence in enumerate(run(sequences)):
                if bad and count >= min(3, len(sequences) - 1):
                    raise RuntimeError("this one is bad")
                if sequence not in bad:
                    yield sequence

        monkeypatch.setattr(generator, "run", flawed)
        answers = list(engine.infer(requests(contents), PROMPT))
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    assert [failure.id for failure in failures] == ["r9"]
    assert sorted(answer.id for answer in answers) == sorted(f"r{i}" for i in range(10))
    assert failures[0].error.code == "inference"
