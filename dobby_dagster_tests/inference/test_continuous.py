"""Continuous batching with both networks of Dobby's own: slots, prefixes, budgets, and generators in parallel."""

import random
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Failure, Generation, Request
from dobby_dagster.inference.local import parallel_generators, sequence
from dobby_dagster.inference.local.continuous_batching import ContinuousGenerator
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.local.parallel_generators import ParallelGenerator
from dobby_dagster.inference.local.scheduler import PREFILL_TOKENS, Scheduler
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster.inference.local.token_selection import Selector
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.packed import packed_network
from dobby_dagster.inference.packed.packed_network import PackedNetwork
from dobby_dagster.inference.packed.packed_weights import load_weights
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.inference.slot_use import SlotUse
from dobby_dagster_tests.helpers.local_engines import CONTENTS, FASTEST, LONG, PROMPT, generated, requests, texts


@dataclass
class Backend:
    """One of Dobby's own backends, and what tests watch in it."""

    name: str
    network: type[Any]
    module: ModuleType
    slots: str

    def engine(self, path: Path, **chosen: object) -> LocalEngine:
        inference = InferenceSettings.model_validate({"slots": 4, "max_new_tokens": 8} | chosen)
        model = ModelSettings.model_validate({"device": "cpu", "dtype": "float32", "engine": self.name})
        return LocalEngine(check_folder(path), model, inference)

    def networks(self, path: Path, count: int) -> list[Any]:
        folder = check_folder(path)
        if self.name == "packed":
            return [PackedNetwork(load_weights(folder, torch.float32))] * count
        if self.name == "mlx":
            from dobby_dagster.inference.mlx import mlx_weights

            return [self.network(mlx_weights.load_weights(folder, "float32", "cpu"), "cpu")] * count
        from dobby_dagster.inference.openvino.openvino_graph import build_graph
        from dobby_dagster.inference.openvino.openvino_network import OpenVinoNetwork, compile_graph

        compiled = compile_graph(build_graph(folder, "float32"), "float32", streams=count, threads=count)
        return [OpenVinoNetwork(compiled) for _ in range(count)]

    def watch_slots(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """All slots that will be made."""
        made: list[Any] = []
        kind = getattr(self.module, self.slots)
        monkeypatch.setattr(self.module, self.slots, lambda *a: made.append(kind(*a)) or made[-1])
        return made


@pytest.fixture(params=sorted({FASTEST, "packed", "mlx"}))
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "packed":
        return Backend("packed", PackedNetwork, packed_network, "SlotCache")
    if request.param == "mlx":
        pytest.importorskip("mlx.core", reason="MLX is not installed")
        from dobby_dagster.inference.mlx import mlx_network

        return Backend("mlx", mlx_network.MlxNetwork, mlx_network, "MlxSlots")
    from dobby_dagster.inference.openvino import openvino_network

    return Backend("openvino", openvino_network.OpenVinoNetwork, openvino_network, "PagedSlots")


def test_slots_are_refilled_and_never_more_than_there_are(
    backend: Backend, qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    decode = backend.network.decode

    def watched(self: object, tokens: list[int], positions: list[int], slots: object) -> object:
        seen.append(len(tokens))
        return decode(self, tokens, positions, slots)

    monkeypatch.setattr(backend.network, "decode", watched)
    engine = backend.engine(qwen2, slots=4)
    answers = list(engine.infer(requests(CONTENTS[:16]), PROMPT))
    assert max(seen) == 4
    # Without refilling, four at a time would take four times the longest output.
    tokens = sum(a.output_tokens + (a.finish_reason == "stop") for a in answers if isinstance(a, Generation))
    assert sum(seen) == tokens - 16
    assert engine.slot_use.held == 0


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_a_common_beginning_is_read_once_and_changes_nothing(
    backend: Backend, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = request.getfixturevalue(kind)
    asked, prefix = [], backend.network.prefix
    monkeypatch.setattr(backend.network, "prefix", lambda self, ids: asked.append(len(ids)) or prefix(self, ids))
    shared = generated(backend.engine(path), [*CONTENTS, *LONG])
    assert len(asked) == 1
    assert asked[0] > 50
    monkeypatch.setattr(sequence, "_LEAST_PREFIX_TOKENS", 10**6)
    whole = generated(backend.engine(path), [*CONTENTS, *LONG])
    assert [o.output_ids for o in shared] == [o.output_ids for o in whole]
    for one, other in zip(shared, whole, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


@pytest.mark.slow
def test_languages_have_beginnings_of_their_own(backend: Backend, qwen2: Path) -> None:
    languages = ["python", "go", "rust"]
    mixed = [Request(f"r{i}", content, languages[i % 3]) for i, content in enumerate(CONTENTS)]
    together = {a.id: a.text for a in backend.engine(qwen2).infer(mixed, PROMPT) if isinstance(a, Generation)}
    for request in mixed[:6]:
        [alone] = backend.engine(qwen2).infer([request], PROMPT)
        assert isinstance(alone, Generation)
        assert alone.text == together[request.id]


def test_a_record_that_is_not_finite_spoils_no_other(backend: Backend, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from dobby_dagster_tests.helpers.checkpoints import make_checkpoint

    path = make_checkpoint(tmp_path / "model")
    healthy = texts(backend.engine(path), CONTENTS[:12])
    tensors = load_file(path / "model.safetensors")
    poison = check_poison(path)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors["model.embed_tokens.weight"][poison] = float("nan")
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    config = (path / "config.json").read_text().replace('"tie_word_embeddings": true', '"tie_word_embeddings": false')
    (path / "config.json").write_text(config)
    contents = list(CONTENTS[:12])
    contents[3] = contents[7] = "\x01 poisoned"
    answers = {a.id: a for a in backend.engine(path).infer(requests(contents), PROMPT)}
    for index, text in enumerate(healthy):
        answer = answers[f"r{index}"]
        if index in (3, 7):
            assert isinstance(answer, Failure)
            assert answer.error.code == "degenerate_output"
        else:
            assert isinstance(answer, Generation)
            assert answer.text == text


def check_poison(path: Path) -> int:
    """The token that only a content with the control character has."""
    from tokenizers import Tokenizer

    [token, *_] = Tokenizer.from_file(str(path / "tokenizer.json")).encode("\x01").ids
    return int(token)


def test_the_slots_hold_no_more_tokens_than_the_budget(
    backend: Backend, qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backend.watch_slots(monkeypatch)
    engine = backend.engine(qwen2, slots=16, token_budget=900)
    assert len(texts(engine, [*CONTENTS, *LONG])) == 29
    assert made
    for cache in made:
        assert cache.rows * cache.columns <= 900 + cache.rows * 32  # rounded up to steps
    assert engine.slots == 16


def prompts_of(lengths: Iterable[int]) -> list[Sequence]:
    return [Sequence(Request(str(index), ""), list(range(3, 3 + n))) for index, n in enumerate(lengths)]


def outputs(sequences: list[Sequence]) -> list[list[int]]:
    return [each.output_ids for each in sequences]


def test_prompts_of_any_length_are_continued(backend: Backend, qwen2: Path) -> None:
    chosen = InferenceSettings(slots=3, max_new_tokens=5)
    [network] = backend.networks(qwen2, 1)
    made = ContinuousGenerator(network, Selector(chosen, {2}, lambda ids: ""), SlotUse(), 3, 10_000, 5, 500)
    prompts = prompts_of((1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 200))
    assert set(made.run(prompts)) == set(prompts)
    assert all(each.finished and each.finite and each.logprobs for each in prompts)


def parallel(backend: Backend, path: Path, parts: int = 3) -> tuple[ParallelGenerator, list[Sequence]]:
    """Some generators in parallel, and sequences that one of them alone has finished."""
    chosen = InferenceSettings(slots=3, max_new_tokens=6)
    made = [
        ContinuousGenerator(network, Selector(chosen, {2}, lambda ids: ""), SlotUse(), 3, 10_000, 6, 500)
        for network in backend.networks(path, parts)
    ]
    alone = prompts_of(range(6, 120, 5))
    assert len(list(made[0].run(alone))) == len(alone)
    return ParallelGenerator(made), alone


def test_generators_in_parallel_write_what_one_writes(backend: Backend, qwen2: Path) -> None:
    generators, alone = parallel(backend, qwen2)
    for count in (len(alone), 2, 0):
        prompts = [each.restarted() for each in alone[:count]]
        assert set(generators.run(prompts)) == set(prompts)
        assert outputs(prompts) == outputs(alone[:count])
        assert all(0 < each.seconds <= each.slot_seconds for each in prompts)


def test_one_that_fails_leaves_the_others_answers(
    backend: Backend, qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generators, alone = parallel(backend, qwen2)

    def broken(sequences: object) -> Iterator[Sequence]:
        raise RuntimeError("broken")
        yield

    monkeypatch.setattr(generators._generators[1], "run", broken)
    found = []
    with pytest.raises(RuntimeError, match="broken"):
        for each in generators.run([each.restarted() for each in alone]):
            found.append(each)
            assert each.output_ids == alone[int(each.request.id)].output_ids
    assert len(found) == len(set(found)) == len(alone) - len(alone) // 3 - 1


def test_an_abandoned_run_ends_and_leaves_the_generators_usable(backend: Backend, qwen2: Path) -> None:
    generators, alone = parallel(backend, qwen2)
    abandoned = generators.run([each.restarted() for each in alone])
    next(abandoned)
    abandoned.close()
    prompts = [each.restarted() for each in alone]
    assert len(list(generators.run(prompts))) == len(prompts)
    assert outputs(prompts) == outputs(alone)


def test_generators_pause_while_nothing_is_taken() -> None:
    """The caller's pace is theirs: what is finished and not taken is bounded, however long the caller waits."""
    made: list[Sequence] = []
    full = threading.Event()

    class Endless:
        def run(self, sequences: list[Sequence]) -> Iterator[Sequence]:
            for each in sequences:
                made.append(each)
                if len(made) == parallel_generators.AHEAD + 2:
                    full.set()
                yield each

    prompts = [Sequence(Request(str(i), ""), [1]) for i in range(200)]
    running = ParallelGenerator([Endless(), Endless()]).run(prompts)
    next(running)
    assert full.wait(60)
    time.sleep(0.2)
    assert len(made) <= 1 + parallel_generators.AHEAD + 2, "one each is finished and waits for room"
    assert len(list(running)) == len(prompts) - 1


@given(
    lengths=st.lists(st.tuples(st.integers(1, 900), st.integers(0, 40)), max_size=60),
    slots=st.integers(1, 12),
    limit=st.sampled_from([None, 1, 3]),
    draws=st.randoms(use_true_random=False),
)
def test_the_scheduler_runs_each_sequence_once_in_slots_without_gaps(
    lengths: list[tuple[int, int]], slots: int, limit: int | None, draws: random.Random
) -> None:
    sequences = [Sequence(Request(str(i), ""), [7] * n, instruction) for i, (n, instruction) in enumerate(lengths)]
    scheduler, held, finished = Scheduler(sequences, slots, limit), Held(), []
    while not scheduler.done:
        first = len(scheduler.running)
        batch = scheduler.schedule()
        assert len(batch) <= min(limit or slots, slots - first)
        assert len({each.prefix for each in batch}) <= 1
        assert len(batch) < 2 or sum(len(each.prompt_ids) - len(each.prefix) for each in batch) <= PREFILL_TOKENS
        held.slots[first : first + len(batch)] = batch
        assert held.slots[: len(scheduler.running)] == scheduler.running, "a running sequence lost its slot"
        for each in batch or scheduler.running:
            each.output_ids.append(0)
            each.finished = draws.random() < 0.3
        finished += scheduler.retire(held)
        assert held.slots[: len(scheduler.running)] == scheduler.running
    assert len(finished) == len(set(finished)) == len(sequences)


class Held:
    """Slots that know whose they are."""

    rows = columns = 0

    def __init__(self) -> None:
        self.slots: list[Sequence] = []

    def move(self, source: int, target: int, length: int) -> None:
        assert length == self.slots[source].cached_tokens
        self.slots[target] = self.slots[source]

    def clear(self, slot: int) -> None: ...


def test_one_long_content_does_not_make_all_slots_large(
    backend: Backend, qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dobby_dagster.inference.local.length_bands.ONE_BAND_TOKENS", 2_000)
    made = backend.watch_slots(monkeypatch)
    short = Prompt(id="short", version=1, system="Say it.", max_new_tokens=20)
    list(backend.engine(qwen2, slots=16).infer(requests([*CONTENTS, "z = 3\n" * 200]), short))
    assert max(cache.rows * cache.columns for cache in made) <= 16 * 288, "the short ones: not 16 * 480"
    assert any(cache.columns > 256 and cache.rows == 1 for cache in made)


@given(lengths=st.lists(st.integers(1, 4_000), max_size=80), count=st.integers(1, 6))
def test_work_is_shared_out_evenly(lengths: list[int], count: int) -> None:
    parts = parallel_generators._shares(lengths, count)
    assert sorted(index for part in parts for index in part) == list(range(len(lengths)))
    work = [sum(lengths[index] + parallel_generators.OUTPUT_WORK for index in part) for part in parts]
    assert max(work) - min(work) <= max(lengths, default=0) + parallel_generators.OUTPUT_WORK


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(CONTENTS) + len(LONG))), count=st.integers(1, 29), slots=st.integers(1, 8))
def test_what_shares_the_slots_changes_no_token_of_the_default_engine(
    qwen2: Path, order: list[int], count: int, slots: int
) -> None:
    engine, alone = _alone(qwen2)
    engine.slots = slots
    contents = [*CONTENTS, *LONG]
    asked = [Request(str(index), contents[index], "python") for index in order[:count]]
    answers = list(engine.infer(asked, PROMPT))
    assert len(answers) == count
    for answer in answers:
        assert isinstance(answer, Generation)
        assert answer.text == alone[int(answer.id)].text
        assert answer.mean_logprob == pytest.approx(alone[int(answer.id)].mean_logprob, abs=1e-3)


@lru_cache(maxsize=1)
def _alone(path: Path) -> tuple[LocalEngine, list[Generation]]:
    """The default engine, and what it writes for each content by itself."""
    engine = LocalEngine(
        check_folder(path), ModelSettings(device="cpu", dtype="float32"), InferenceSettings(slots=8, max_new_tokens=8)
    )
    answers = [next(iter(engine.infer([Request("x", each, "python")], PROMPT))) for each in [*CONTENTS, *LONG]]
    assert all(isinstance(answer, Generation) for answer in answers)
    return engine, answers


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_first_tokens_may_repeat_until_they_are_an_n_gram(size: int) -> None:
    chosen = InferenceSettings(no_repeat_ngram=size, max_new_tokens=size + 1)
    selector = Selector(chosen, {2}, lambda ids: "")
    one = Sequence(Request("a", "x"), [1])
    while not one.finished:
        selector.advance(np.array([[0, 0, 0, 9, 5]], np.float32), [one])
    assert one.output_ids == [*[3] * size, 4]
