"""Packed generation: its batches, its slots, its prefixes, its memory, and what happens where something is missing."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference import memory
from dobby_dagster.inference.batching import bands
from dobby_dagster.inference.devices import place
from dobby_dagster.inference.encoding import Encoded
from dobby_dagster.inference.engine import Failure, Generation, Request
from dobby_dagster.inference.local_engine import LocalEngine
from dobby_dagster.inference.model_folder import check_folder
from dobby_dagster.inference.packed import generator, linear
from dobby_dagster.inference.packed.cache import SlotCache
from dobby_dagster.inference.packed.generator import PackedGenerator
from dobby_dagster.inference.packed.network import Network
from dobby_dagster.inference.packed.parallel import ParallelGenerator
from dobby_dagster.inference.packed.weights import load_weights
from dobby_dagster.inference.selection import Selector, Written
from dobby_dagster_tests.test_engine_contract import CONTENTS, PROMPT, requests
from dobby_dagster_tests.test_local_engine import generated, texts

LONG = ["y = 2  # " + "word " * n for n in (3, 40, 90, 7, 60, 20)]


def packed(path: Path, dtype: str = "float32", **chosen: object) -> LocalEngine:
    inference = InferenceSettings.model_validate({"slots": 4, "max_new_tokens": 8} | chosen)
    model = ModelSettings.model_validate({"device": "cpu", "dtype": dtype, "engine": "packed"})
    return LocalEngine(check_folder(path), model, inference)


@given(
    lengths=st.lists(st.integers(1, 3000), max_size=60),
    slots=st.integers(1, 64),
    budget=st.integers(1, 20_000),
    new=st.integers(1, 64),
)
def test_every_prompt_is_in_one_band_and_no_band_is_over_the_budget(
    lengths: list[int], slots: int, budget: int, new: int
) -> None:
    made = list(bands(lengths, slots, budget, new))
    assert sorted(index for band in made for index in band.members) == list(range(len(lengths)))
    for band in made:
        assert band.longest == max(lengths[index] for index in band.members)
        assert band.rows == 1 or band.rows * (band.longest + new) <= budget
        assert 1 <= band.rows <= slots
    longest = [band.longest for band in made]
    assert longest == sorted(longest, reverse=True)


def test_slots_are_refilled_and_never_more_than_there_are(qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    decode = Network.decode

    def watched(self: Network, tokens: torch.Tensor, positions: torch.Tensor, cache: SlotCache) -> torch.Tensor:
        seen.append(len(tokens))
        return decode(self, tokens, positions, cache)

    monkeypatch.setattr(Network, "decode", watched)
    engine = packed(qwen2, slots=4)
    answers = list(engine.infer(requests(CONTENTS[:16]), PROMPT))
    assert max(seen) == 4
    # Without refilling, four at a time would take four times the longest output.
    tokens = sum(a.output_tokens + (a.finish_reason == "stop") for a in answers if isinstance(a, Generation))
    assert sum(seen) == tokens - 16
    assert all(a.batch_size <= 4 for a in answers if isinstance(a, Generation))


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_a_common_beginning_is_read_once_and_changes_nothing(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = request.getfixturevalue(kind)
    asked, prefix = [], Network.prefix
    monkeypatch.setattr(Network, "prefix", lambda self, ids: asked.append(len(ids)) or prefix(self, ids))
    shared = generated(packed(path), [*CONTENTS, *LONG])
    assert len(asked) == 1
    assert asked[0] > 50
    monkeypatch.setattr(generator, "_SHARED_FROM", 10**6)
    whole = generated(packed(path), [*CONTENTS, *LONG])
    assert [o.tokens for o in shared] == [o.tokens for o in whole]
    for one, other in zip(shared, whole, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def test_languages_have_beginnings_of_their_own(qwen2: Path) -> None:
    languages = ["python", "go", "rust"]
    mixed = [Request(f"r{i}", content, languages[i % 3]) for i, content in enumerate(CONTENTS)]
    together = {a.id: a.text for a in packed(qwen2).infer(mixed, PROMPT) if isinstance(a, Generation)}
    for request in mixed[:6]:
        [alone] = packed(qwen2).infer([request], PROMPT)
        assert isinstance(alone, Generation)
        assert alone.text == together[request.id]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_torchs_private_operators_the_result_is_the_same(
    dtype: str, qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepacked = generated(packed(qwen2, dtype), CONTENTS[:8])
    monkeypatch.setattr(linear, "_OPERATORS", object())
    linear.can_prepack.cache_clear()
    try:
        assert not linear.can_prepack(getattr(torch, dtype))
        plain = generated(packed(qwen2, dtype), CONTENTS[:8])
    finally:
        linear.can_prepack.cache_clear()
    for one, other in zip(prepacked, plain, strict=True):
        assert one.logprobs[0] == pytest.approx(other.logprobs[0], abs=0.2 if dtype == "bfloat16" else 1e-3)
        if dtype == "float32":
            assert one.tokens == other.tokens


def test_a_record_that_is_not_finite_spoils_no_other(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from dobby_dagster_tests.checkpoints import make_checkpoint

    path = make_checkpoint(tmp_path / "model")
    healthy = texts(packed(path), CONTENTS[:12])
    tensors = load_file(path / "model.safetensors")
    poison = check_poison(path)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors["model.embed_tokens.weight"][poison] = float("nan")
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    config = (path / "config.json").read_text().replace('"tie_word_embeddings": true', '"tie_word_embeddings": false')
    (path / "config.json").write_text(config)
    contents = list(CONTENTS[:12])
    contents[3] = contents[7] = "\x01 poisoned"
    answers = {a.id: a for a in packed(path).infer(requests(contents), PROMPT)}
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


@pytest.fixture(scope="module")
def reproducible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalEngine, list[str]]]:
    from dobby_dagster_tests.checkpoints import make_checkpoint

    path = make_checkpoint(tmp_path_factory.mktemp("reproducible") / "model", seed=3)
    engine = packed(path, reproducible=True, slots=5)
    yield engine, [texts(engine, [content])[0] for content in [*CONTENTS, *LONG]]
    engine.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), count=st.integers(1, 29))
def test_in_reproducible_mode_company_changes_no_bit(
    reproducible: tuple[LocalEngine, list[str]], seed: int, count: int
) -> None:
    engine, alone = reproducible
    contents = [*CONTENTS, *LONG]
    chosen = random.Random(seed).sample(range(len(contents)), count)
    answers = {a.id: a for a in engine.infer([Request(str(i), contents[i], "python") for i in chosen], PROMPT)}
    for index in chosen:
        answer = answers[str(index)]
        assert isinstance(answer, Generation)
        assert answer.text == alone[index]
        [again] = engine.infer([Request("x", contents[index], "python")], PROMPT)
        assert isinstance(again, Generation)
        assert (again.mean_logprob, again.min_logprob) == (answer.mean_logprob, answer.min_logprob)


def test_the_slots_hold_no_more_tokens_than_the_budget(qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(generator, "SlotCache", lambda *a: made.append(SlotCache(*a)) or made[-1])
    engine = packed(qwen2, slots=16, token_budget=900)
    assert len(texts(engine, [*CONTENTS, *LONG])) == 29
    assert made
    for cache in made:
        assert cache.rows * cache.columns <= 900 + cache.rows * 32  # rounded up to steps
    assert engine.slots == 16


def test_memory_that_is_free_decides_the_budget(qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placement = place(ModelSettings(device="cpu", dtype="float32"), reproducible=False)
    config = check_folder(qwen2).config

    def budget(**chosen: object) -> int:
        return memory.token_budget(InferenceSettings.model_validate(chosen), config, placement)

    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**9)
    weights = load_weights(check_folder(qwen2), torch.float32)
    cache = SlotCache(weights.shape, 1, 32, torch.float32)
    token = (cache.keys.nbytes + cache.values.nbytes) // 32
    assert 0.9 < budget() * token / 0.8e9 <= 1
    assert budget(memory_share=0.4) < 0.51 * budget()
    assert budget(memory_limit_bytes=10**8) * token <= 10**8
    assert budget(token_budget=77) == 77
    monkeypatch.setattr(memory, "free_bytes", lambda device: 0)
    assert budget() == 64


def test_a_limit_of_the_control_group_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("1000000\n")
    (tmp_path / "current").write_text("400000\n")
    monkeypatch.setattr(memory, "_GROUP_LIMITS", (tmp_path / "max",))
    monkeypatch.setattr(memory, "_GROUP_USES", (tmp_path / "current",))
    assert memory.free_bytes("cpu") == 600_000
    (tmp_path / "max").write_text("max\n")
    assert memory.free_bytes("cpu") > 1_000_000


def test_a_long_prompt_is_attended_to_in_blocks(qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dobby_dagster.inference.packed import network

    weights = load_weights(check_folder(qwen2), torch.float32)
    ids = [random.Random(1).randrange(300) for _ in range(400)]

    def first(block: int) -> torch.Tensor:
        monkeypatch.setattr(network, "QUERY_BLOCK", block)
        return Network(weights).prefill([ids, ids[:37]], SlotCache(weights.shape, 2, 408, torch.float32), 0)

    assert torch.allclose(first(10_000), first(64), atol=1e-4)


def test_one_prompt_is_written_for_whatever_its_length(qwen2: Path) -> None:
    chosen = InferenceSettings(slots=3, max_new_tokens=5)
    weights = load_weights(check_folder(qwen2), torch.float32)
    made = PackedGenerator(Network(weights), Selector(chosen, {2}, lambda ids: ""), 3, 10_000, 5, 500)
    prompts = [Encoded(list(range(3, 3 + n)), truncated=False) for n in (1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 200)]
    written = list(made.run(prompts, [""] * len(prompts)))
    assert sorted(each.index for each in written) == list(range(len(prompts)))
    assert all(each.output.finite and each.output.logprobs for each in written)


def parallel(path: Path, parts: int = 3) -> tuple[ParallelGenerator, list[Encoded], list[list[int]]]:
    """Some generators side by side, prompts, and what one alone writes for them."""
    chosen = InferenceSettings(slots=3, max_new_tokens=6)
    network = Network(load_weights(check_folder(path), torch.float32))
    made = [PackedGenerator(network, Selector(chosen, {2}, lambda ids: ""), 3, 10_000, 6, 500) for _ in range(parts)]
    prompts = [Encoded(list(range(3, 4 + 5 * n)), truncated=False) for n in range(1, 24)]
    alone = sorted(made[0].run(prompts, [""] * len(prompts)), key=lambda each: each.index)
    return ParallelGenerator(made, 1), prompts, [each.output.tokens for each in alone]


def test_generators_side_by_side_write_what_one_writes(qwen2: Path) -> None:
    threads = torch.get_num_threads()
    generators, prompts, alone = parallel(qwen2)
    assert torch.get_num_threads() == threads
    for count in (len(prompts), 2, 0):
        written = sorted(generators.run(prompts[:count], [""] * count), key=lambda each: each.index)
        assert [each.index for each in written] == list(range(count))
        assert [each.output.tokens for each in written] == alone[:count]
        assert all(1 <= each.company <= 9 and each.seconds > 0 for each in written)


def test_one_that_fails_leaves_the_others_answers(qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generators, prompts, alone = parallel(qwen2)

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


def test_work_that_nobody_waits_for_ends(qwen2: Path) -> None:
    generators, prompts, alone = parallel(qwen2)
    answers = generators.run(prompts, [""] * len(prompts))
    next(answers)
    answers.close()
    written = sorted(generators.run(prompts, [""] * len(prompts)), key=lambda each: each.index)
    assert [each.output.tokens for each in written] == alone


def test_one_long_content_does_not_make_all_slots_large(qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dobby_dagster.inference.batching.ONE_BAND_TOKENS", 2_000)
    made = []
    monkeypatch.setattr(generator, "SlotCache", lambda *a: made.append(SlotCache(*a)) or made[-1])
    texts(packed(qwen2, slots=16), [*CONTENTS, "z = 3\n" * 200])
    assert max(cache.rows * cache.columns for cache in made) <= 16 * 288, "the short ones: not 16 * 480"
    assert any(cache.columns > 256 and cache.rows == 1 for cache in made)
