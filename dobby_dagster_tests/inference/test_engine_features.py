"""What the table of engines claims: each feature of each engine, and the refusal of what an engine does not support."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.engine import Engine
from dobby_dagster.inference.engine_features import ENGINES, Feature
from dobby_dagster_tests.helpers.checkpoints import edit_json, make_checkpoint
from dobby_dagster_tests.helpers.every_engine import answers, parameter, running
from dobby_dagster_tests.helpers.greedy_reference import Reference, assert_alike
from dobby_dagster_tests.helpers.local_engines import CONTENTS, LONG, PROMPT

SOME = [*CONTENTS[:5], LONG[1]]


def assert_generates(name: str, folder: Path, filters: dict[str, Any], **settings: Any) -> None:
    """An engine generates what the reference generates with ``filters``."""
    new = settings.get("max_new_tokens", 8)
    with running(name, folder, **settings) as engine:
        assert_alike(ENGINES[name], answers(engine, SOME), Reference(folder).outputs(SOME, PROMPT, new, **filters))


def log_probabilities(name: str, folder: Path) -> None:
    assert_generates(name, folder, {})


def no_repetition(name: str, folder: Path) -> None:
    assert_generates(name, folder, {"ban": 2}, no_repeat_ngram=2, max_new_tokens=16)


def repetition_penalty(name: str, folder: Path) -> None:
    assert_generates(name, folder, {"penalty": 1.3}, repetition_penalty=1.3, max_new_tokens=16)


def stop_texts(name: str, folder: Path) -> None:
    with running(name, folder, max_new_tokens=12) as engine:
        whole = [answer.text for answer in answers(engine, SOME)]
    stop = whole[0][3:6]
    with running(name, folder, max_new_tokens=12, stop=(stop,)) as engine:
        assert [answer.text for answer in answers(engine, SOME)] == [text.split(stop)[0].strip() for text in whole]


def sampling(name: str, folder: Path) -> None:
    def drawn(**settings: Any) -> list[str]:
        with running(name, folder, **settings) as engine:
            return [answer.text for answer in answers(engine, SOME)]

    first, second, other = (drawn(temperature=1.5, seed=seed) for seed in (1, 1, 2))
    assert first == second != other
    assert first != drawn()


def reproducible(name: str, folder: Path) -> None:
    with running(name, folder, reproducible=True) as engine:
        together = [(a.text, a.mean_logprob) for a in answers(engine, SOME)]
        alone = [(a.text, a.mean_logprob) for content in SOME for a in answers(engine, [content])]
        backward = [(a.text, a.mean_logprob) for a in reversed(answers(engine, SOME[::-1]))]
    assert together == alone == backward


def slots_in_use(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Each change of the slots in use, with how many were in use before it."""
    changes: list[tuple[int, int]] = []
    change = type(engine.slot_use).change

    def watched(self: Any, count: int) -> None:
        changes.append((self.held, count))
        change(self, count)

    monkeypatch.setattr(type(engine.slot_use), "change", watched)
    return changes


def continuous_batching(name: str, folder: Path) -> None:
    with running(name, folder, max_new_tokens=24) as engine:
        texts = [answer.text for answer in answers(engine, CONTENTS)]
    # A stop text that ends about half of the outputs early.
    stop = min(sorted({*"".join(texts)}), key=lambda part: abs(sum(part in text for text in texts) - len(texts) / 2))
    with running(name, folder, max_new_tokens=24, stop=(stop,)) as engine, pytest.MonkeyPatch.context() as patch:
        changes = slots_in_use(engine, patch)
        assert len({answer.output_tokens for answer in answers(engine, CONTENTS)}) > 1
    assert any(count > 0 and held > 0 for held, count in changes), "a slot is refilled while others are in use"


def common_prefix(name: str, folder: Path) -> None:
    assert PREFIXES.get(name, prefixes_read)(name, folder)


def prefixes_by_vllm(name: str, folder: Path) -> bool:
    """Whether vLLM takes a page of the prompts after the first from its cache."""
    with running(name, folder) as engine, pytest.MonkeyPatch.context() as patch:
        engine.load()
        vllm = engine._loaded.generator._engine  # type: ignore[attr-defined]
        cached, step = [], vllm.step

        def watched() -> list[Any]:
            outputs = step()
            cached.extend(output.num_cached_tokens for output in outputs)
            return list(outputs)

        patch.setattr(vllm, "step", watched)
        answers(engine, CONTENTS)
    return max(cached) >= 32


def prefixes_read(name: str, folder: Path) -> bool:
    """Whether the scheduler has the prompts' common tokens read once."""
    with running(name, folder) as engine, pytest.MonkeyPatch.context() as patch:
        engine.load()
        network = engine._loaded.generator._network  # type: ignore[attr-defined]
        asked, prefix = [], network.prefix
        patch.setattr(network, "prefix", lambda ids: asked.append(len(ids)) or prefix(ids))
        answers(engine, CONTENTS)
    return len(asked) == 1 and asked[0] > 50


PREFIXES = {"vllm": prefixes_by_vllm}


def memory_limit(name: str, folder: Path) -> None:
    def most(**settings: Any) -> int:
        with running(name, folder, slots=8, **settings) as engine, pytest.MonkeyPatch.context() as patch:
            changes = slots_in_use(engine, patch)
            assert len(answers(engine, CONTENTS)) == len(CONTENTS)
        return max(held + count for held, count in changes)

    assert 1 <= most(token_budget=400) < most() == 8


def special_model(feature: Feature, folder: Path) -> Path:
    """A model that needs a feature."""
    if feature == Feature.EXTRA_BIASES:
        return with_biases(folder)
    make_checkpoint(folder)
    said: dict[Feature, dict[str, Any]] = {
        Feature.SCALED_ROTARY: {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0}},
        Feature.SLIDING_WINDOW: {
            "use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1, "layer_types": ...,
        },
        Feature.OTHER_ACTIVATIONS: {"hidden_act": "gelu"},
    }  # fmt: skip
    edit_json(folder / "config.json", **said[feature])
    return folder


def with_biases(folder: Path) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    make_checkpoint(folder, "llama")
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder, attention_bias=True, mlp_bias=True))
    for parameter_name, tensor in model.named_parameters():
        if parameter_name.endswith("bias"):
            torch.nn.init.normal_(tensor, std=0.3)
    model.save_pretrained(folder)
    return folder


SPECIAL = (Feature.SCALED_ROTARY, Feature.SLIDING_WINDOW, Feature.OTHER_ACTIVATIONS, Feature.EXTRA_BIASES)
PROOFS: dict[Feature, Callable[[str, Path], None]] = {
    Feature.LOGPROBS: log_probabilities,
    Feature.STOP_TEXTS: stop_texts,
    Feature.NO_REPEAT: no_repetition,
    Feature.REPETITION_PENALTY: repetition_penalty,
    Feature.SAMPLING: sampling,
    Feature.REPRODUCIBLE: reproducible,
    Feature.CONTINUOUS_BATCHING: continuous_batching,
    Feature.COMMON_PREFIX: common_prefix,
    Feature.MEMORY_LIMIT: memory_limit,
    **dict.fromkeys(SPECIAL, log_probabilities),
}
CLAIMED = [parameter(name, f) for name, engine in ENGINES.items() for f in Feature if f in engine.features]
REFUSED = [
    parameter(name, feature)
    for name, engine in ENGINES.items()
    for feature in (Feature.REPRODUCIBLE, *SPECIAL)
    if feature not in engine.features | engine.unknown
]


REFUSALS = {
    Feature.REPRODUCIBLE: "reproducible",
    Feature.SCALED_ROTARY: r"rotary embedding is scaled \(linear\)",
    Feature.SLIDING_WINDOW: "uses a sliding window",
    Feature.OTHER_ACTIVATIONS: "activation is not SiLU",
    Feature.EXTRA_BIASES: "biases that its architecture does not have",
}


def test_each_feature_has_a_proof() -> None:
    assert set(PROOFS) == set(Feature)
    for engine in ENGINES.values():
        assert not engine.features & engine.unknown


@pytest.mark.parametrize(("name", "feature"), CLAIMED)
def test_what_an_engine_claims_it_does(name: str, feature: Feature, qwen2: Path, tmp_path: Path) -> None:
    PROOFS[feature](name, special_model(feature, tmp_path / "model") if feature in SPECIAL else qwen2)


@pytest.mark.parametrize(("name", "feature"), REFUSED)
def test_what_an_engine_does_not_support_it_refuses(name: str, feature: Feature, qwen2: Path, tmp_path: Path) -> None:
    folder = special_model(feature, tmp_path / "model") if feature in SPECIAL else qwen2
    with (
        pytest.raises(ModelError, match=REFUSALS[feature]),
        running(name, folder, reproducible=feature == Feature.REPRODUCIBLE) as engine,
    ):
        engine.load()


NUMBERS = [{"dtype": "float16"}, {"dtype": "bfloat16"}, {"quantization": "int8"}, {"quantization": "int4"}]


@pytest.mark.parametrize("asked", NUMBERS, ids=lambda asked: " ".join(asked.values()))
@pytest.mark.parametrize("name", [parameter(name) for name in ENGINES if name != "server"])
def test_precisions_and_quantizations_run_or_are_refused(name: str, asked: dict[str, str], qwen2: Path) -> None:
    [(kind, value)] = asked.items()
    known = ENGINES[name].dtypes if kind == "dtype" else ENGINES[name].quantizations.get("cpu", ())
    with running(name, qwen2, **asked) as engine:
        if value in known:
            assert getattr(engine.load(), kind) == value
            assert len(answers(engine, SOME)) == len(SOME)
        else:
            with pytest.raises(ModelError, match=f"can't be run by {name}: it(s| has no) {value}"):
                engine.load()
