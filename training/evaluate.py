"""Quality on held-out projects, beside the words of the function's name.

    python -m training.evaluate --model models/dobby-code-7m --data build/corpus/test.jsonl

Smoothed BLEU-4 is the one of CodeXGLUE's code-to-text task (Lin and Och 2004: one is added to the matches and the
totals of 2- to 4-grams; each summary alone, then the mean), in percent, with a 95 % bootstrap interval over functions.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dobby_dagster.domain.errors import DegenerateOutputError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Generation, Request
from dobby_dagster.inference.model_folder import check_folder
from dobby_dagster.inference.prompts import PromptLibrary
from dobby_dagster.inference.transformers_engine import TransformersEngine
from dobby_dagster.pipeline.quality import gate
from training.corpus import Pair, documented
from training.prepare import read

PROMPT = PromptLibrary.load().get("summary")


def words(text: str) -> list[str]:
    """Lower-case words and punctuation marks."""
    return re.findall(r"\w+|[^\s\w]", text.lower())


def smoothed_bleu(reference: str, candidate: str) -> float:
    """Smoothed sentence BLEU-4 in [0, 1], as in CodeXGLUE's evaluator."""
    wanted, given = words(reference), words(candidate)
    total = 0.0
    for n in range(1, 5):
        expected = Counter(tuple(wanted[i : i + n]) for i in range(len(wanted) - n + 1))
        found = Counter(tuple(given[i : i + n]) for i in range(len(given) - n + 1))
        matches, guesses = sum((expected & found).values()), sum(found.values())
        smooth = 1 if n > 1 else 0
        tiny = sys.float_info.min
        total += math.log(matches + smooth + tiny) - math.log(guesses + smooth + tiny)
    return math.exp(total / 4 + min(0.0, 1 - (len(wanted) + 1) / (len(given) + 1)))


def name_words(pair: Pair) -> str:
    """The words of the function's name: what costs nothing."""
    match = re.search(r"def\s+(\w+)", pair.code)
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", match.group(1) if match else "")
    return " ".join(parts).lower() + "."


def interval(scores: Sequence[float], rounds: int = 1_000) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval."""
    rng = random.Random(0)
    means = sorted(sum(rng.choices(scores, k=len(scores))) / len(scores) for _ in range(rounds))
    return sum(scores) / len(scores), means[round(rounds * 0.025)], means[round(rounds * 0.975)]


def summaries(model: Path, pairs: Sequence[Pair]) -> list[str]:
    """The model's summary of each code."""
    engine = TransformersEngine(check_folder(model), ModelSettings(), InferenceSettings())
    answers = engine.infer((Request(str(i), pair.code, "python") for i, pair in enumerate(pairs)), PROMPT)
    texts = {answer.id: answer.text for answer in answers if isinstance(answer, Generation)}
    return [texts.get(str(i), "") for i in range(len(pairs))]


def degenerate(text: str, pair: Pair) -> bool:
    """Whether the quality gate refuses ``text``."""
    try:
        gate(text, pair.code, PROMPT.text)
    except DegenerateOutputError:
        return True
    return False


def main() -> None:
    """Parse the command line, print figures and samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/dobby-code-7m"))
    parser.add_argument("--data", type=Path, default=Path("build/corpus/test.jsonl"))
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--documented", action="store_true", help="leave the docstrings in the code")
    arguments = parser.parse_args()
    pairs = read(arguments.data)
    pairs = random.Random(0).sample(pairs, min(arguments.count, len(pairs)))
    if arguments.documented:
        pairs = [replace(pair, code=code) for pair in pairs if (code := documented(pair)) is not None]
    texts = summaries(arguments.model, pairs)
    ways: dict[str, Callable[[int], str]] = {
        "model": lambda i: texts[i],
        "words of the name": lambda i: name_words(pairs[i]),
    }
    print(f"{len(pairs)} functions of {', '.join(sorted({pair.project for pair in pairs}))}\n")
    for name, way in ways.items():
        scores = [100 * smoothed_bleu(pair.summary, way(i)) for i, pair in enumerate(pairs)]
        print(f"smoothed BLEU-4, {name}: %.2f (%.2f to %.2f)" % interval(scores))
    print(f"exact: {sum(t == p.summary for t, p in zip(texts, pairs, strict=True)) / len(pairs):.1%}")
    print(f"refused by the quality gate: {sum(map(degenerate, texts, pairs)) / len(pairs):.2%}")
    print(f"different from each other: {len(set(texts)) / len(texts):.1%}\n")
    for pair, text in list(zip(pairs, texts, strict=True))[: arguments.samples]:
        print(f"{pair.project}: {name_words(pair)}\n  documented: {pair.summary}\n  summary:    {text}")


if __name__ == "__main__":
    main()
