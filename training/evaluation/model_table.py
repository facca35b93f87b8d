"""Several models on the same held-out functions, as rows of a table.

    python -m training.evaluation.model_table --corpus build/corpus --count 40 dobby-code-11m PATH.gguf

Quality is smoothed BLEU-4 against the author's sentence, over all pairs; the quality gate refuses what it would refuse
in a run. Speed is inference alone on this machine, the load of the model not counted: by the clock, and in seconds of
processor time, which other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.scoring.text_overlap import interval, smoothed_bleu
from training.corpus.pair import Pair, read
from training.evaluation.answers import answers_of, sample

LANGUAGES = ("python", "go", "rust", "javascript", "typescript", "java", "c", "cpp")


def row(path: str, pairs: list[Pair]) -> str:
    """A model's row: name, pairs, BLEU-4 with its 95 % interval, shares of cut-offs and refusals, and speed."""
    settings = ModelSettings(path=path)
    engine = LocalEngine(find_model(settings), settings, InferenceSettings())
    name = engine.load().name
    began, worked = time.perf_counter(), time.process_time()
    found = answers_of(engine, pairs)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    engine.close()
    mean, low, high = (100 * each for each in interval([smoothed_bleu(a.pair.summary, a.answer.text) for a in found]))
    cut = sum(each.answer.finish_reason == "length" for each in found) / len(found)
    refused = sum(each.refused for each in found) / len(found)
    return (
        f"| {name} | {len(found)} | {mean:.1f} ({low:.1f} to {high:.1f}) | {cut:.0%} | {refused:.0%} "
        f"| {60 * len(found) / seconds:,.0f} | {worked / len(found):.3f} |"
    )


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="folders, GGUF files, or names of bundled models")
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--count", type=int, default=40, help="pairs of a language")
    arguments = parser.parse_args()
    groups = sample(read(arguments.corpus / "test.jsonl"), LANGUAGES, arguments.count)
    pairs = [pair for group in groups.values() for pair in group]
    print("| model | functions | smoothed BLEU-4 | cut off | refused | records a minute | processor s a record |")
    print("|---|---|---|---|---|---|---|")
    for path in arguments.models:
        print(row(path, pairs), flush=True)


if __name__ == "__main__":
    main()
