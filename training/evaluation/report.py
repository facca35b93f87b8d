"""The pages of an evaluation, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.inference.models.reliability import RELIABILITY, Reliability, reliability_bins
from dobby_dagster.inference.scoring.content_kind import kind_of
from dobby_dagster.inference.scoring.text_overlap import interval, rouge_l, smoothed_bleu
from training.calibrate import LANGUAGES, agrees
from training.corpus.pair import Pair
from training.evaluation.answers import MADE_UP, Answered, answers, as_records, sample, sample_kinds, with_documentation
from training.evaluation.baselines import name_words, nearest_summaries
from training.evaluation.figures import reliability
from training.evaluation.metrics import calibration_error
from training.evaluation.oddities import ODDITIES

Score = Callable[[str, str], float]
MEASURED_ON = "functions and classes of projects that it was not trained on, half of them with their documentation"


def evaluation(
    model: Path, test: Sequence[Pair], train: Sequence[Pair], most: int, picture: Path
) -> tuple[str, dict[str, list[Answered]]]:
    """The page, and the answers by language; the reliability diagram goes to ``picture``, its figures beside it."""
    chosen = sample(test, [language for language in LANGUAGES if language != "markdown"], most)
    answered = {language: answers(model, pairs) for language, pairs in chosen.items()}
    near = {
        language: nearest_summaries([p for p in train if p.language == language], [a.pair for a in group])
        for language, group in answered.items()
    }
    documented = answers(model, with_documentation([pair for pairs in chosen.values() for pair in pairs]))
    plain = [a for group in answered.values() for a in group]
    parts = [
        f"# Evaluation of {model.name}\n",
        "Projects that the model never saw, documentation removed, unpicked. BLEU-4 is smoothed as CodeXGLUE's, in percent; "
        "ROUGE-L is F1, in percent; in parentheses the 95 % bootstrap interval over records. *Name* is the words of the "
        "function's name; *nearest* the sentence of the nearest code in the training set by BM25; *ahead* the difference to "
        "the better of the two, record by record.\n",
        _scores("Smoothed BLEU-4", smoothed_bleu, answered, near),
        _scores("ROUGE-L", rouge_l, answered, near),
        _outputs(answered),
        _documented(documented),
        _confidence(plain, documented, picture),
        _oddities(model),
    ]
    return "\n".join(parts), answered


def samples_page(answered: dict[str, list[Answered]], count: int) -> str:
    """The first ``count`` of each language, which are in random order."""
    return _listed("Samples", "Of projects that the model never saw, documentation removed, unpicked.", answered, count)


def records_page(model: Path, records: Sequence[Pair], count: int) -> str:
    """``count`` records of each language as a user has them, and what the model makes of them.

    Args:
        model: Its folder.
        records: Of projects that it never saw, with their documentation where they have one.
        count: Of each language.
    """
    chosen = sample(records, LANGUAGES, count)
    text = (
        "Functions, methods and classes of projects that the model never saw, as they stand, unpicked: with their "
        "documentation where they have one. *Documented* is its first sentence, if that is a plain one."
    )
    return _listed(
        "Records as they stand", text, {name: answers(model, group) for name, group in chosen.items()}, count
    )


def _listed(title: str, text: str, answered: dict[str, list[Answered]], count: int) -> str:
    parts = [f"# {title}\n\n{text}\n"]
    for language, group in answered.items():
        rows = (
            (
                f"{a.pair.project} `{a.pair.name}`",
                a.pair.summary,
                "*refused:* " * a.refused + a.answer.text,
                shown_confidence(a.answer.confidence),
            )
            for a in group[:count]
        )
        parts += [f"## {language}\n", _table(("code", "documented", "summary", "confidence"), rows)]
    return "\n".join(parts)


def _scores(title: str, score: Score, answered: dict[str, list[Answered]], near: dict[str, list[str]]) -> str:
    rows = []
    for language, group in answered.items():
        wanted = [a.pair.summary for a in group]
        ways = {
            "model": [a.answer.text for a in group],
            "name": [name_words(a.pair) for a in group],
            "nearest": near[language],
        }
        points = {
            way: np.array([100 * score(reference, text) for reference, text in zip(wanted, texts, strict=True)])
            for way, texts in ways.items()
        }
        rival = max(points["name"], points["nearest"], key=np.mean)
        projects = len({a.pair.project for a in group})
        shown = [_interval(points[way]) for way in ways]
        rows.append((language, f"{len(group)} of {projects}", *shown, _interval(points["model"] - rival)))
    header = ("language", "records of projects", "model", "name", "nearest", "ahead")
    return f"## {title}\n\n{_table(header, rows)}"


def _outputs(answered: dict[str, list[Answered]]) -> str:
    rows = []
    for language, group in answered.items():
        texts = [a.answer.text for a in group]
        exact = sum(text == a.pair.summary for text, a in zip(texts, group, strict=True))
        refused = sum(a.refused for a in group)
        rows.append(
            (
                language,
                f"{exact / len(group):.1%}",
                f"{refused / len(group):.1%}",
                f"{len(set(texts)) / len(texts):.1%}",
            )
        )
    header = ("language", "word for word the author's", "refused by the quality gate", "different from each other")
    return f"## Outputs\n\n{_table(header, rows)}"


def _documented(answered: list[Answered]) -> str:
    rows = []
    for language in dict.fromkeys(a.pair.language for a in answered):
        group = [a for a in answered if a.pair.language == language]
        exact = sum(a.answer.text == a.pair.summary for a in group) / len(group)
        score = _interval([100 * smoothed_bleu(a.pair.summary, a.answer.text) for a in group])
        rows.append((language, str(len(group)), f"{exact:.1%}", score))
    text = "The same records as most people have them: with their documentation, whose first sentence is to be found.\n"
    header = ("language", "records", "word for word the author's", "smoothed BLEU-4")
    return f"## With documentation in the code\n\n{text}\n{_table(header, rows)}"


def _confidence(plain: list[Answered], documented: list[Answered], picture: Path) -> str:
    rows = []
    plain, documented = ([a for a in group if a.answer.confidence is not None] for group in (plain, documented))
    both = [*plain, *documented]
    for name, group in (("without documentation", plain), ("with", documented), ("both", both)):
        given, true = [a.answer.confidence for a in group], [agrees(a) for a in group]
        brier = float(np.mean((np.array(given) - np.array(true)) ** 2))
        shown = (
            f"{np.mean(true):.1%}",
            f"{np.mean(given):.3f}",
            f"{calibration_error(given, true):.3f}",
            f"{brier:.3f}",
        )
        rows.append((name, str(len(group)), *shown))
    given, true = [a.answer.confidence for a in both], [agrees(a) for a in both]
    reliability(picture, given, true)
    measured = Reliability(measured_on=MEASURED_ON, bins=tuple(reliability_bins(given, true)))
    picture.with_name(RELIABILITY).write_text(measured.model_dump_json(indent=1) + "\n")
    text = (
        "Fitted on the validation projects, measured on the test projects: the probability that a summary agrees with its "
        "author's sentence (ROUGE-L F1 of 0.5 or more). A summary that says the same in other words counts as not agreeing, so "
        "low confidence is no proof of error.\n"
    )
    header = ("records", "count", "agree", "mean confidence", "ECE (10 bins)", "Brier score")
    return f"## Confidence\n\n{text}\n{_table(header, rows)}\n![reliability]({picture.name})\n"


def kinds_table(model: Path, pairs: Sequence[Pair], most: int) -> str:
    """How good summaries of other contents than functions are, and how far their confidence is right, by kind.

    Args:
        model: Its folder.
        pairs: Of projects that it never saw: ``kinds.test.jsonl``.
        most: Pairs of a kind and language.
    """
    rows = []
    everything: list[Answered] = []
    for name, group in sample_kinds(pairs, most).items():
        answered = answers(model, as_records(group))
        everything += [one for one in answered if not one.pair.project.startswith(MADE_UP)]
        rows.append((name, *_kind_row(answered)))
    by_look: dict[str, list[Answered]] = {}
    for one in everything:
        by_look.setdefault(kind_of(one.pair.code, one.pair.language) or "unknown", []).append(one)
    rows += [(f"*all of {name}*", *_kind_row(group)) for name, group in sorted(by_look.items())]
    text = (
        "Contents other than functions, of projects that the model never saw, as records have them: without their "
        "description and with it, where they have one; prose whole. *Agree*, ECE and mean confidence as above. Where the confidence is unknown, since it was not measured on "
        "contents of that kind, it is in no mean. What is made "
        "up by rule is apart, and in no sum: it says how well the rule was learned.\n"
    )
    header = ("kind", "records", "BLEU-4", "agree", "refused", "confidence unknown", "mean confidence", "ECE (10 bins)")
    return f"## Other kinds of content\n\n{text}\n{_table(header, rows)}"


def _kind_row(answered: Sequence[Answered]) -> tuple[str, ...]:
    known = [(a.answer.confidence, agrees(a)) for a in answered if a.answer.confidence is not None]
    given, true = [value for value, _ in known], [truth for _, truth in known]
    bleu = np.mean([100 * smoothed_bleu(a.pair.summary, a.answer.text) for a in answered])
    return (
        str(len(answered)),
        f"{bleu:.1f}",
        f"{np.mean([agrees(a) for a in answered]):.1%}",
        f"{np.mean([a.refused for a in answered]):.1%}",
        str(len(answered) - len(known)),
        f"{np.mean(given):.3f}" if known else "",
        f"{calibration_error(given, true):.3f}" if known else "",
    )


def _oddities(model: Path) -> str:
    pairs = [Pair("", "text", "file", name, content, "", 0, "") for name, content in ODDITIES.items()]
    rows = [
        (
            a.pair.name,
            "*refused:* " * a.refused + (a.answer.text or "(nothing)"),
            shown_confidence(a.answer.confidence),
        )
        for a in answers(model, pairs)
    ]
    text = "What comes of contents that are no code, or of a language that was not learned.\n"
    return f"## Odd contents\n\n{text}\n{_table(('content', 'summary', 'confidence'), rows)}"


def _interval(scores: Sequence[float] | np.ndarray) -> str:
    return "{:.1f} ({:.1f} to {:.1f})".format(*interval(list(scores)))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
