"""Measure how well functions are found by what their authors say of them: ``python -m bench search --help``.

Questions are the authors' own sentences, the right answer is the function or class that each was written of, and the
documents have no documentation: what is found is found by the code, or by the summaries that the built-in model makes
of it. No model has seen these projects. ``make corpus`` fetches them, ``python -m training.corpus --roles test`` only
those. It needs the extra ``training``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from bench.search.figures import DEPTHS, Figures, figures
from bench.search.held_out import Collection, prepared
from bench.search.ways import ways
from dobby_dagster.domain.settings import SearchSettings

PAGE = Path("docs/model/search.md")


def main(given: list[str]) -> int:
    """Parse the command line, prepare what is not there yet, measure, and print or write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m bench search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus/test.jsonl"))
    parser.add_argument("--folder", type=Path, default=Path("build/search"), help="for databases with summaries")
    parser.add_argument("--per-language", type=int, default=130)
    parser.add_argument("--embedding", default="built-in", help="as the setting search.embedding")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE}")
    arguments = parser.parse_args(given)
    if not arguments.corpus.exists():
        parser.error(f"{arguments.corpus} does not exist: run python -m training.corpus --roles test")
    collection = prepared(arguments.corpus, arguments.folder, arguments.per_language)
    measured = measure(collection, SearchSettings(embedding=arguments.embedding))
    text = page(collection, measured)
    print(text)
    if arguments.write:
        PAGE.write_text(text)
    return 0


def measure(collection: Collection, settings: SearchSettings) -> dict[str, Figures]:
    """The figures of each way."""
    asked, right = [pair.summary for pair in collection.pairs.values()], list(collection.pairs)
    return {name: figures([way(text) for text in asked], right) for name, way in ways(collection, settings).items()}


def page(collection: Collection, measured: Mapping[str, Figures]) -> str:
    """The page, as Markdown."""
    languages = Counter(pair.language for pair in collection.pairs.values())
    projects = len({pair.project for pair in collection.pairs.values()})
    lines = [
        "# Search, measured",
        "",
        f"{len(collection.pairs):,} functions, methods and classes of {projects} projects that no model was trained on "
        f"({', '.join(f'{count} {language}' for language, count in sorted(languages.items()))}), without their "
        "documentation. Each is asked for by the first sentence of that documentation, among all of them at once; only "
        "the function itself counts as right, though others may fit as well.",
        "",
        f"| searched | {' | '.join(f'among the first {depth}' for depth in DEPTHS)} | mean reciprocal rank |",
        "|---|" + "---|" * (len(DEPTHS) + 1),
    ]
    for name, found in measured.items():
        shares = " | ".join(f"{100 * share:.1f} %" for share in found.recalls.values())
        lines.append(f"| {name} | {shares} | {found.reciprocal_rank:.3f} |")
    lines += [
        "",
        "*Keywords* are BM25 by [bm25s](https://github.com/xhluca/bm25s), over keys and code, with identifiers split "
        "into words. *Vectors* are of the embedding that ships with Dobby, of keys and code, or of keys, summaries and "
        "code. *Full text* and both together are what `dobby search` does. Summaries are of the built-in model. The "
        "weights of both, and of the parts of a vector, were chosen on other projects, the validation projects of the "
        "corpus.",
        "",
        "Made by `python -m bench search --write`.",
        "",
    ]
    return "\n".join(lines)
