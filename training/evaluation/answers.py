"""What the model answers, by the same engine, prompt and gate that Dobby uses."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings, SecondTry
from dobby_dagster.inference.engine import Engine, Generation
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_lookup import check_model
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.pipeline.summarization.text_attempts import text_attempts
from training.corpus.pair import Pair

# What the project of a made-up content begins with.
MADE_UP = "made up"
# Kinds of content whose first sentence is a part of them.
WHOLE = ("section", "manual")
PROMPT = PromptLibrary.load().get("summary")


@dataclass(frozen=True)
class Answered:
    """A pair, the model's answer, and whether the quality gate refuses it."""

    pair: Pair
    answer: Generation
    refused: bool


def sample(pairs: Sequence[Pair], languages: Sequence[str], most: int) -> dict[str, list[Pair]]:
    """At most ``most`` pairs of each language, the same every time, projects as they come."""
    chosen = {}
    for language in languages:
        of_language = [pair for pair in pairs if pair.language == language]
        if of_language:
            chosen[language] = random.Random(0).sample(of_language, min(most, len(of_language)))
    return chosen


def sample_kinds(pairs: Sequence[Pair], most: int) -> dict[str, list[Pair]]:
    """At most ``most`` pairs of each kind of content in each language, as ``test go``, the same every time; made-up ones apart."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        made_up = f", {MADE_UP}" if pair.project.startswith(MADE_UP) else ""
        groups.setdefault(f"{pair.kind} {pair.language}{made_up}", []).append(pair)
    return {name: random.Random(0).sample(group, min(most, len(group))) for name, group in sorted(groups.items())}


def with_documentation(pairs: Sequence[Pair]) -> list[Pair]:
    """The same pairs with their documentation left in the code."""
    return [replace(pair, code=pair.documented) for pair in pairs if pair.documentation]


def as_records(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs as records have them: without their documentation and with it; prose, which nobody cuts, only with it."""
    bare = [pair for pair in pairs if pair.kind not in WHOLE or not pair.documentation]
    return [*bare, *with_documentation(pairs)]


def answers(model: Path, pairs: Sequence[Pair], second_try: SecondTry | None = None) -> list[Answered]:
    """The model's summary of each code; pairs whose inference failed are left out."""
    return answers_of(LocalEngine(check_model(model), ModelSettings(), InferenceSettings()), pairs, second_try)


def answers_of(engine: Engine, pairs: Sequence[Pair], second_try: SecondTry | None = None) -> list[Answered]:
    """What an engine answers; pairs whose inference failed are left out.

    Args:
        engine: A local one.
        pairs: Whose code is the content.
        second_try: Which outputs are generated once more; None: those that are by default.
    """
    when = InferenceSettings().second_try if second_try is None else second_try
    found = text_attempts(engine, PROMPT, [(pair.code, pair.language) for pair in pairs], when)
    return [Answered(pairs[i], one.output, one.error is not None) for i, one in found.items()]
