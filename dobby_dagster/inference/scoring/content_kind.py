"""The kind of a record's content: a confidence is meaningful only on kinds that it was measured on."""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from pathlib import Path

from dobby_dagster.domain.outlines import PACKAGE_HEADING

WEIGHTS = Path(__file__).with_name("content_kind.json")
# Characters of a content that are looked at.
LOOKED_AT = 3_000
# The kind is unknown where the likeliest one has a lower probability.
LEAST = 0.6
# The kind of a language, by its name in records; for other languages and for text, the content decides.
BY_LANGUAGE = {
    **dict.fromkeys(("python", "go", "rust", "javascript", "typescript", "tsx", "java", "c", "cpp"), "code"),
    **dict.fromkeys(("json", "yaml", "toml", "ini", "csv", "xml", "environment"), "data"),
    **dict.fromkeys(("makefile", "dockerfile", "requirements"), "data"),
    **dict.fromkeys(("shell", "bash", "sh"), "shell"),
    **dict.fromkeys(("diff", "patch"), "diff"),
    **dict.fromkeys(("log", "traceback"), "log"),
    **dict.fromkeys(("csharp", "ruby", "php", "kotlin", "swift", "scala", "perl", "lua", "groovy"), "other code"),
    "sql": "sql",
}
# The outline of a package that does not say what it is, whatever its language.
PACKAGE = "package"
# Its name; then files and folders, with their summaries where they have one, and nothing else.
_PACKAGE = re.compile(rf"{PACKAGE_HEADING}[^\n]+(?:\n(?:\S+  # [^\n]+|\S+(?:/|\.\w+)|…))+")
_TOKEN = re.compile(r"[^\W\d_]+|_|\d+|[^\w\s]{1,2}")
_EDGE = re.compile(r"^[ \t]*(\S{1,2}\w*)|(\S)[ \t]*$", re.MULTILINE)
_LONGEST_TOKEN = 16


@lru_cache(maxsize=1)
def _weights() -> tuple[list[str], list[float], dict[str, list[float]]]:
    data = json.loads(WEIGHTS.read_text())
    return data["kinds"], data["bias"], data["weights"]


def features_of(content: str) -> set[str]:
    """The features of a content: its words and punctuation, and those at the beginnings and ends of lines.

    >>> sorted(features_of("a = 12"))
    ['0', '2$', '=', '^a', 'a']
    """
    text = content[:LOOKED_AT]
    found = {_feature(token) for token in _TOKEN.findall(text)}
    for match in _EDGE.finditer(text):
        found.add(f"^{match[1][:_LONGEST_TOKEN].lower()}" if match[1] else f"{match[2]}$")
    return found


def _feature(token: str) -> str:
    """A word in lower case, any number as 0, punctuation as it is."""
    return token[:_LONGEST_TOKEN].lower() if token[0].isalpha() else "0" if token[0].isdigit() else token


def kind_of(content: str, language: str = "") -> str | None:
    r"""The kind of ``content``: ``code``, ``other code``, ``data``, ``diff``, ``log``, ``prose``, ``shell`` or ``sql``.

    The outline of a package without documentation, a ``package``, is known by its lines. Else the language decides
    where it implies a kind, else a linear classifier of the first characters (``training.content_kind``); None where
    neither is sure. *Code* is in a language that the built-in models learned.

    >>> kind_of("SELECT name FROM users WHERE id = 4;"), kind_of("anything", "ruby")
    ('sql', 'other code')
    >>> kind_of("# Package books\npages.py  # Read a page.\n", "python")
    'package'
    """
    if _PACKAGE.fullmatch(content.rstrip()):
        return PACKAGE
    named = BY_LANGUAGE.get(language.lower())
    if named is not None:
        return named
    kinds, bias, weights = _weights()
    scores = list(bias)
    for feature in features_of(content):
        row = weights.get(feature)
        if row is not None:
            scores = [score + weight for score, weight in zip(scores, row, strict=True)]
    top = max(scores)
    return kinds[scores.index(top)] if 1 / sum(math.exp(score - top) for score in scores) >= LEAST else None
