"""Train what tells the kind of a content by a look at it, on the corpus: a linear classifier over words and marks.

    python -m training.content_kind --corpus build/corpus --archives build/archives

Writes ``dobby_dagster/inference/scoring/content_kind.json`` and says how often
it is right on projects that it never saw.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

import numpy as np
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.linear_model import LogisticRegression

from dobby_dagster.inference.scoring.content_kind import BY_LANGUAGE, WEIGHTS, features_of
from training.corpus.kinds.build import LISTED
from training.corpus.packages import archived, members_of, projects
from training.corpus.pair import Pair, read

# Files in languages that the model does not learn, and how many of a project and ending are read.
OTHER = frozenset(
    (".rb", ".php", ".kt", ".swift", ".scala", ".pl", ".pm", ".lua", ".tcl", ".groovy", ".cs", ".r", ".R", ".ml", ".m")
)
MOST_FILES = 60
LARGEST_ARCHIVE = 14_000_000
MOST_OF_A_LANGUAGE = 1_500
FEATURES = 1_500
LEAST_TIMES = 15
PLACES = 2


def examples(corpus: Path, archives: Path, role: str) -> Iterator[tuple[str, str]]:
    """Yield contents with their kinds: pairs with and without documentation, and pieces of files in other languages."""
    rng = random.Random(role)
    pairs = [*read(corpus / f"{role}.jsonl"), *read(corpus / f"kinds.{role}.jsonl")]
    rng.shuffle(pairs)
    counts: Counter[tuple[str, str]] = Counter()
    for pair in pairs:
        counts[pair.language, pair.kind] += 1
        if counts[pair.language, pair.kind] <= MOST_OF_A_LANGUAGE:
            yield (pair.documented if rng.random() < 0.5 else pair.code), kind(pair)
    for project in [*projects(), *projects(LISTED)]:
        archive = archived(project, archives) if project.role == role else None
        if archive is not None and archive.stat().st_size < LARGEST_ARCHIVE:
            yield from ((piece, "other code") for piece in _others(archive, rng))


def kind(pair: Pair) -> str:
    """The kind of content that a pair is of."""
    return BY_LANGUAGE.get(pair.language, "prose")


def _others(archive: Path, rng: random.Random) -> Iterator[str]:
    taken: Counter[str] = Counter()
    for name, data in members_of(archive, lambda name: PurePath(name).suffix in OTHER):
        suffix = PurePath(name).suffix
        taken[suffix] += 1
        lines = data.decode("utf-8", "replace").splitlines()
        if taken[suffix] > MOST_FILES or len(lines) < 8:
            continue
        for _ in range(2):
            begin = rng.randrange(len(lines) - 5)
            piece = "\n".join(lines[begin : begin + rng.randint(5, 40)])
            if len(piece) > 60:
                yield piece


def fit(contents: Sequence[str], kinds: Sequence[str]) -> dict[str, object]:
    """The weights, as they are stored: ``kinds``, ``bias`` by kind, and ``weights`` by feature and kind."""
    vectorizer = DictVectorizer(dtype=np.float32)
    rows = vectorizer.fit_transform([dict.fromkeys(features_of(content), 1) for content in contents])
    names = np.array(vectorizer.get_feature_names_out())
    often = np.flatnonzero(np.asarray((rows > 0).sum(axis=0)).ravel() >= LEAST_TIMES)
    chosen = often[SelectKBest(chi2, k=min(FEATURES, len(often))).fit(rows[:, often], kinds).get_support(indices=True)]
    model = LogisticRegression(C=0.3, max_iter=300, class_weight="balanced").fit(rows[:, chosen], kinds)
    weights = {
        str(name): [round(float(w), PLACES) for w in column]
        for name, column in zip(names[chosen], model.coef_.T, strict=True)
    }
    return {
        "kinds": [str(name) for name in model.classes_],
        "bias": [round(float(value), PLACES) for value in model.intercept_],
        "weights": dict(sorted(weights.items())),
    }


def main() -> None:
    """Parse the command line, fit, write the weights, and say how good they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--archives", type=Path, default=Path("build/archives"))
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    contents, kinds = zip(*examples(arguments.corpus, arguments.archives, "train"), strict=True)
    print(f"{len(contents):,} contents: {dict(Counter(kinds))}")
    arguments.out.write_text(json.dumps(fit(contents, kinds), separators=(",", ":"), ensure_ascii=False) + "\n")
    from dobby_dagster.inference.scoring.content_kind import kind_of

    found: Counter[tuple[str, str | None]] = Counter()
    for content, true in examples(arguments.corpus, arguments.archives, "test"):
        found[true, kind_of(content)] += 1
    for true in sorted({true for true, _ in found}):
        row = {said: count for (kind_, said), count in found.items() if kind_ == true}
        print(f"{true}: {row.get(true, 0) / sum(row.values()):.1%} of {sum(row.values())}", row)


if __name__ == "__main__":
    main()
