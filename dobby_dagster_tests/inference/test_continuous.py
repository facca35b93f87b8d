"""Continuous generation, by both networks of Dobby's own: its slots, beginnings, budgets, and what it does side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Failure, Generation, Request
from dobby_dagster.inference.local import continuous_batching, parallel_generators
from dobby_dagster.inference.local.continuous_batching import ContinuousGenerator
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.local.parallel_generators import ParallelGenerator
from dobby_dagster.inference.local.prompt_encoding import Encoded
from dobby_dagster.inference.local.token_selection import Selector, Written
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.packed import packed_network
from dobby_dagster.inference.packed.packed_network import PackedNetwork
from dobby_dagster.inference.packed.packed_weights import load_weights
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster_tests.helpers.local_engines import CONTENTS, FASTEST, LONG, PROMPT, generated, requests, texts


@dataclass
class Way:
    """A network of Dobby's own, and what is looked at in it."""

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


@pytest.fixture(params=sorted({FASTEST, "packed"}))
def way(request: pytest.FixtureRequest) -> Way:
    if request.param == "packed":
        return Way("packed", PackedNetwork, packed_network, "SlotCache")
    from dobby_dagster.inference.openvino import openvino_network

    return Way("openvino", openvino_network.OpenVinoNetwork, openvino_network, "PagedSlots")


def test_slots_are_refilled_and_never_more_than_there_are(
    way: Way, qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    decode = way.network.decode

    def watched(self: object, tokens: list[int], positions: list[int], slots: object) -> object:
        seen.append(len(tokens))
        return decode(self, tokens, positions, slots)

    monkeypatch.setattr(way.network, "decode", watched)
    engine = way.engine(qwen2, slots=4)
    answers = list(engine.infer(requests(CONTENTS[:16]), PROMPT))
    assert max(seen) == 4
    # Without refilling, four at a time would take four times the longest output.
    tokens = sum(a.output_tokens + (a.finish_reason == "stop") for a in answers if isinstance(a, Generation))
    assert sum(seen) == tokens - 16
    assert all(a.batch_size <= 4 for a in answers if isinstance(a, Generation))


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_a_common_beginning_is_read_once_and_changes_nothing(
    way: Way, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = request.getfixturevalue(kind)
    asked, prefix = [], way.network.prefix
    monkeypatch.setattr(way.network, "prefix", lambda self, ids: asked.append(len(ids)) or prefix(self, ids))
    shared = generated(way.engine(path), [*CONTENTS, *LONG])
    assert len(asked) == 1
    assert asked[0] > 50
    monkeypatch.setattr(continuous_batching, "_SHARED_FROM", 10**6)
    whole = generated(way.engine(path), [*CONTENTS, *LONG])
    assert [o.tokens for o in shared] == [o.tokens for o in whole]
    for one, other in zip(shared, whole, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def test_languages_have_beginnings_of_their_own(way: Way, qwen2: Path) -> None:
    languages = ["python", "go", "rust"]
    mixed = [Request(f"r{i}", content, languages[i % 3]) for i, content in enumerate(CONTENTS)]
    together = {a.id: a.text for a in way.engine(qwen2).infer(mixed, PROMPT) if isinstance(a, Generation)}
    for request in mixed[:6]:
        [alone] = way.engine(qwen2).infer([request], PROMPT)
        assert isinstance(alone, Generation)
        assert alone.text == together[request.id]


def test_a_record_that_is_not_finite_spoils_no_other(way: Way, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from dobby_dagster_tests.helpers.checkpoints import make_checkpoint

    path = make_checkpoint(tmp_path / "model")
    healthy = texts(way.engine(path), CONTENTS[:12])
    tensors = load_file(path / "model.safetensors")
    poison = check_poison(path)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors["model.embed_tokens.weight"][poison] = float("nan")
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    config = (path / "config.json").read_text().replace('"tie_word_embeddings": true', '"tie_word_embeddings": false')
    (path / "config.json").write_text(config)
    contents = list(CONTENTS[:12])
    contents[3] = contents[7] = "\x01 poisoned"
    answers = {a.id: a for a in way.engine(path).infer(requests(contents), PROMPT)}
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


def test_the_slots_hold_no_more_tokens_than_the_budget(way: Way, qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = way.watch_slots(monkeypatch)
    engine = way.engine(qwen2, slots=16, token_budget=900)
    assert len(texts(engine, [*CONTENTS, *LONG])) == 29
    assert made
    for cache in made:
        assert cache.rows * cache.columns <= 900 + cache.rows * 32  # rounded up to steps
    assert engine.slots == 16


def test_one_prompt_is_written_for_whatever_its_length(way: Way, qwen2: Path) -> None:
    chosen = InferenceSettings(slots=3, max_new_tokens=5)
    [network] = way.networks(qwen2, 1)
    made = ContinuousGenerator(network, Selector(chosen, {2}, lambda ids: ""), 3, 10_000, 5, 500)
    prompts = [Encoded(list(range(3, 3 + n)), truncated=False) for n in (1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 200)]
    written = list(made.run(prompts, [""] * len(prompts)))
    assert sorted(each.index for each in written) == list(range(len(prompts)))
    assert all(each.output.finite and each.output.logprobs for each in written)


def parallel(way: Way, path: Path, parts: int = 3) -> tuple[ParallelGenerator, list[Encoded], list[list[int]]]:
    """Some generators side by side, prompts, and what one alone writes for them."""
    chosen = InferenceSettings(slots=3, max_new_tokens=6)
    made = [
        ContinuousGenerator(network, Selector(chosen, {2}, lambda ids: ""), 3, 10_000, 6, 500)
        for network in way.networks(path, parts)
    ]
    prompts = [Encoded(list(range(3, 4 + 5 * n)), truncated=False) for n in range(1, 24)]
    alone = sorted(made[0].run(prompts, [""] * len(prompts)), key=lambda each: each.index)
    return ParallelGenerator(made), prompts, [each.output.tokens for each in alone]


def test_generators_side_by_side_write_what_one_writes(way: Way, qwen2: Path) -> None:
    generators, prompts, alone = parallel(way, qwen2)
    for count in (len(prompts), 2, 0):
        written = sorted(generators.run(prompts[:count], [""] * count), key=lambda each: each.index)
        assert [each.index for each in written] == list(range(count))
        assert [each.output.tokens for each in written] == alone[:count]
        assert all(1 <= each.company <= 9 and each.seconds > 0 for each in written)


def test_one_that_fails_leaves_the_others_answers(way: Way, qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generators, prompts, alone = parallel(way, qwen2)

    def broken(prompts: object, seeds: object) -> Iterator[Written]:
        raise RuntimeError("broken")
        yield

    monkeypatch.setattr(generators._generators[1], "run", broken)
    found = []
    with pytest.raises(RuntimeError, match="broken"):
        for each in generators.run(prompts, [""] * len(prompts)):
            found.append(each.index)
            assert each.output.tokens == alone[each.index]
    assert len(found) == len(set(found)) == len(prompts) - len(prompts) // 3 - 1


def test_work_that_nobody_waits_for_ends(way: Way, qwen2: Path) -> None:
    generators, prompts, alone = parallel(way, qwen2)
    answers = generators.run(prompts, [""] * len(prompts))
    next(answers)
    answers.close()
    written = sorted(generators.run(prompts, [""] * len(prompts)), key=lambda each: each.index)
    assert [each.output.tokens for each in written] == alone


def test_one_long_content_does_not_make_all_slots_large(way: Way, qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dobby_dagster.inference.local.length_bands.ONE_BAND_TOKENS", 2_000)
    made = way.watch_slots(monkeypatch)
    short = Prompt(id="short", version=1, system="Say it.", max_new_tokens=20)
    list(way.engine(qwen2, slots=16).infer(requests([*CONTENTS, "z = 3\n" * 200]), short))
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
