"""Twenty questions in ordinary words over one package: ``python -m bench questions --help``.

The package is ingested and summarised as ``dobby ingest`` and ``dobby summarize`` do it; then each question of
``questions.toml`` is asked in three ways, and it is counted how many right functions are among the first five.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from bench.search.ways import Way, by_keywords
from dobby_dagster.domain.records import readable_text
from dobby_dagster.domain.search_words import query_words
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.search.search_records import search
from dobby_dagster.store.cozo_store import CozoStore

QUESTIONS = Path(__file__).with_name("questions.toml")
PAGE = Path("docs/model/questions.md")
SHOWN = 5


@dataclass(frozen=True)
class Question:
    """A question, and a regular expression for the ends of the keys that answer it."""

    text: str
    right: re.Pattern[str]

    def count(self, keys: list[str]) -> int:
        """How many of the first ``SHOWN`` keys answer it."""
        return sum(bool(self.right.search(key)) for key in keys[:SHOWN])


def questions() -> list[Question]:
    """Those of the file."""
    tables = tomllib.loads(QUESTIONS.read_text())["question"]
    return [Question(table["text"], re.compile(table["right"])) for table in tables]


def grep(contents: dict[str, str]) -> Way:
    """As a person greps for one word after the other: what has most of the words first, then in the order of keys."""

    def ranked(text: str) -> list[str]:
        asked = query_words(text)
        found = {key: sum(word in content for word in asked) for key, content in contents.items()}
        return [key for key, count in sorted(found.items(), key=lambda each: (-each[1], each[0])) if count]

    return ranked


def main(given: list[str]) -> int:
    """Ask all questions in all ways, and print or write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m bench questions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", required=True, help="URL of a database with the summaries of networkx")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE}")
    arguments = parser.parse_args(given)
    store = CozoStore.open(DatabaseSettings(url=arguments.database), create=False)
    source, recipe = store.source(SourceSettings()), store.recipes.latest()
    code = {
        row["key"]: readable_text(row["content"]) or ""
        for row in store.reports.rows(source, recipe)
        if not row["metadata"].get("derived")
    }

    def dobby(text: str) -> list[str]:
        # Files and packages answer no question for a function.
        hits = search(store, source, recipe, text, limit=4 * SHOWN).hits
        return [hit.key for hit in hits if hit.kind not in ("file", "package")]

    ways: dict[str, Way] = {
        "grep": grep({key: f"{key}\n{text}".lower() for key, text in code.items()}),
        "BM25 over code": by_keywords(code),
        "dobby search": dobby,
    }
    text = page(ways, len(code))
    print(text)
    if arguments.write:
        PAGE.write_text(text)
    return 0


def page(ways: dict[str, Way], records: int) -> str:
    """The counts of each way, by question."""
    counts = {q.text: {name: q.count(way(q.text)) for name, way in ways.items()} for q in questions()}
    answered = {name: sum(row[name] > 0 for row in counts.values()) for name in ways}
    total = {name: sum(row[name] for row in counts.values()) for name in ways}
    lines = [
        "# Twenty questions",
        "",
        f"Questions in ordinary words over networkx, {records:,} functions, methods and classes with their "
        "documentation, written before the package was looked at (`bench/search/questions.toml`). How many right "
        f"functions are among the first {SHOWN}:",
        "",
        f"| question | {' | '.join(ways)} |",
        "|---|" + "---|" * len(ways),
        *(f"| {text} | {' | '.join(str(row[name]) for name in ways)} |" for text, row in counts.items()),
        f"| **right functions, of {SHOWN * len(counts)}** | {' | '.join(f'**{total[name]}**' for name in ways)} |",
        f"| **questions with a right one, of {len(counts)}** | {' | '.join(f'**{answered[name]}**' for name in ways)} |",
        "",
        "*grep* shows what has most of the words of the question first; *BM25* is that of [bm25s](https://github.com/"
        "xhluca/bm25s) over keys and code, identifiers split into words. Made by `python -m bench questions --write`.",
        "",
    ]
    return "\n".join(lines)
