"""What the site's highlighting knows of each language: its comments, strings and keywords."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files

# Each ends by itself, matches something, and is never tried again from its middle: so a text takes linear time.
_HASH = r"\#[^\n]*+"
_SHELL_HASH = r"(?<![^\s;])\#[^\n]*+"
_PHP_HASH = r"\#(?!\[)[^\n]*+"
_SLASHES = r"//[^\n]*+|/\*(?>[^*]++|\*(?!/))*+(?:\*/)?"
_DASHES = r"--[^\n]*+|/\*(?>[^*]++|\*(?!/))*+(?:\*/)?"
_DOUBLE = r'"(?>[^"\\\n]++|\\.)*+"?'
_SINGLE = r"'(?>[^'\\\n]++|\\.)*+'?"
_RAW_SINGLE = r"'[^']*+'?"
_CHARACTER = r"'(?>\\[^\n][^'\n]{0,8}|[^'\\\n])'"
_BACKTICK = r"`(?>[^`\\]++|\\[\s\S])*+`?"
_RAW_BACKTICK = r"`[^`]*+`?"
_TRIPLE = r'"""(?>[^"\\]++|\\[\s\S]|"(?!""))*+(?:""")?'
_TRIPLE_SINGLE = r"'''(?>[^'\\]++|\\[\s\S]|'(?!''))*+(?:''')?"
_NUMBER = r"(?<![\w.])\d[\w.]*+"
_WORD = r"[@$]?[^\W\d]\w*+"
_DIRECTIVE = r"^[ \t]*+\#[ \t]*+\w++"
_ATTRIBUTE = r"\#!?\[[^\]\n]*+\]?"
_HEADING = r"^\#{1,6}[ \t][^\n]*+"
_NOTHING = r"(?!)"

_WORDS = tomllib.loads((files("dobby_dagster.site") / "keywords.toml").read_text(encoding="utf-8"))
DEFINING = frozenset(_WORDS["defining"].split())
CONSTANTS = frozenset(_WORDS["constants"].split())


@dataclass(frozen=True, slots=True)
class Highlighting:
    """How one language is highlighted.

    Attributes:
        tokens: Matches a comment (c), a string (s), a directive (d), a number (n) or a word (w), each a group.
        keywords: Words with a meaning of their own.
    """

    tokens: re.Pattern[str]
    keywords: frozenset[str]


def _of(language: str, comment: str, *strings: str, directive: str = _NOTHING) -> Highlighting:
    groups = {"c": comment, "s": "|".join(strings), "d": directive, "n": _NUMBER, "w": _WORD}
    tokens = "|".join(f"(?P<{name}>{pattern})" for name, pattern in groups.items())
    keywords = frozenset(_WORDS["keywords"].get(language, "").split())
    if language == "sql":
        keywords |= {word.upper() for word in keywords}
    return Highlighting(re.compile(tokens, re.MULTILINE), keywords)


_TYPESCRIPT = _of("typescript", _SLASHES, _DOUBLE, _SINGLE, _BACKTICK)
# By the language of a record; any other is shown as it is.
LANGUAGES: dict[str, Highlighting] = {
    "python": _of("python", _HASH, _TRIPLE, _TRIPLE_SINGLE, _DOUBLE, _SINGLE),
    "javascript": _of("javascript", _SLASHES, _DOUBLE, _SINGLE, _BACKTICK),
    "typescript": _TYPESCRIPT,
    "tsx": _TYPESCRIPT,
    "java": _of("java", _SLASHES, _TRIPLE, _DOUBLE, _SINGLE),
    "c": _of("c", _SLASHES, _DOUBLE, _SINGLE, directive=_DIRECTIVE),
    "cpp": _of("cpp", _SLASHES, _DOUBLE, _SINGLE, directive=_DIRECTIVE),
    "csharp": _of("csharp", _SLASHES, _TRIPLE, _DOUBLE, _SINGLE, directive=_DIRECTIVE),
    "go": _of("go", _SLASHES, _DOUBLE, _SINGLE, _RAW_BACKTICK),
    "rust": _of("rust", _SLASHES, _DOUBLE, _CHARACTER, directive=_ATTRIBUTE),
    "kotlin": _of("kotlin", _SLASHES, _TRIPLE, _DOUBLE, _SINGLE),
    "swift": _of("swift", _SLASHES, _TRIPLE, _DOUBLE),
    "scala": _of("scala", _SLASHES, _TRIPLE, _DOUBLE, _CHARACTER),
    "php": _of("php", f"{_SLASHES}|{_PHP_HASH}", _DOUBLE, _SINGLE),
    "ruby": _of("ruby", _HASH, _DOUBLE, _SINGLE),
    "shell": _of("shell", _SHELL_HASH, _DOUBLE, _RAW_SINGLE),
    "sql": _of("sql", _DASHES, _RAW_SINGLE, _DOUBLE),
    "markdown": _of("markdown", _NOTHING, r"`[^`\n]*+`?", directive=_HEADING),
}
