"""Quality on held-out projects, beside what costs nothing: `make eval`.

    python -m training.evaluation --model models/dobby-code-73m --corpus build/corpus --out docs/model

Writes ``evaluation.md`` (scores by language with 95 % bootstrap intervals, confidence, odd contents), ``samples.md``
and ``records.md`` (fifty of each language, unpicked, without documentation and as they stand) and ``reliability.png``;
and into the model's folder ``reliability.json``, which ``dobby report`` shows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dobby_dagster.inference.models.reliability import RELIABILITY
from training.corpus.pair import read
from training.evaluation.figures import curves
from training.evaluation.report import evaluation, kinds_table, records_page, samples_page

SAMPLES = 50
# Pairs of each other kind of content in each language.
KINDS = 100


def main() -> None:
    """Parse the command line and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/dobby-code-73m"))
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--out", type=Path, default=Path("docs/model"))
    parser.add_argument("--count", type=int, default=500, help="pairs of a language")
    parser.add_argument("--log", type=Path, help="a training log, drawn as training.png")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    test, train = read(arguments.corpus / "test.jsonl"), read(arguments.corpus / "train.jsonl")
    text, answered = evaluation(arguments.model, test, train, arguments.count, arguments.out / "reliability.png")
    (arguments.out / RELIABILITY).replace(arguments.model / RELIABILITY)
    kinds = arguments.corpus / "kinds.test.jsonl"
    if kinds.exists():
        text += "\n" + kinds_table(arguments.model, read(kinds), KINDS)
    (arguments.out / "evaluation.md").write_text(text)
    (arguments.out / "samples.md").write_text(samples_page(answered, SAMPLES))
    records = read(arguments.corpus / "records.jsonl")
    (arguments.out / "records.md").write_text(records_page(arguments.model, records, SAMPLES))
    if arguments.log:
        curves(arguments.out / "training.png", arguments.log)
    print(text)


if __name__ == "__main__":
    main()
