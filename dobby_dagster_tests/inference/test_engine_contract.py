"""What every engine does: the fake one of the tests, and all of the table on Qwen2 and Llama checkpoints."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dobby_dagster.inference.engine import Engine, Failure, Generation, Request
from dobby_dagster.inference.engine_features import ENGINES
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster_tests.helpers.every_engine import parameter, running
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.local_engines import BACKENDS, CONTENTS, DEVICE, FASTEST, PROMPT, engine_on, requests

# A server needs a chat template, which the Llama checkpoint does not have.
ENGINES_HERE = [
    *(parameter(name, model) for name in ENGINES if name != "server" for model in ("qwen2", "llama")),
    *([parameter("server", "qwen2"), parameter(FASTEST, "gguf")] if DEVICE == "cpu" else []),
]


@pytest.fixture(scope="module")
def gguf(qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf")
    from dobby_dagster_tests.helpers.gguf_files import as_gguf

    return as_gguf(qwen2, tmp_path_factory.mktemp("models") / "tiny.gguf")


# vLLM is not among BACKENDS: it runs one model in a process, and their tests have several.
LOCAL = [*BACKENDS, pytest.param("vllm", marks=pytest.mark.slow)]


@pytest.fixture(
    scope="module", params=["fake", *(pytest.param(p.values, marks=p.marks, id=p.id) for p in ENGINES_HERE)]
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "fake":
        yield FakeEngine()
        return
    name, model = request.param
    with running(name, request.getfixturevalue(model), no_repeat_ngram=4) as made:
        made.load()
        yield made


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
        assert answer.queue_seconds is not None
        assert answer.queue_seconds >= 0
        assert answer.finish_reason in ("stop", "length")


def test_information_and_health(engine: Engine) -> None:
    info = engine.load()
    served = info.engine == "server"
    assert (info.parameters > 0) is not served, "a server does not tell"
    assert info.device == ("server" if served else "cpu" if isinstance(engine, FakeEngine) else DEVICE)
    assert engine.health().ok


def test_a_closed_engine_can_be_used_again(engine: Engine) -> None:
    engine.close()
    assert len(list(engine.infer(requests(CONTENTS[:2]), PROMPT))) == 2


@pytest.mark.parametrize("backend", ["fake", *LOCAL])
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
        engine.close()
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    assert [failure.id for failure in failures] == ["r9"]
    assert sorted(answer.id for answer in answers) == sorted(f"r{i}" for i in range(10))
    assert failures[0].error.code == "inference"
