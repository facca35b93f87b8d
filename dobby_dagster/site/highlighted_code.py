"""Code as HTML with a class for each kind of token; linear in the length of the code but for the lexers' own flaws."""

from __future__ import annotations

from functools import cache, lru_cache

from markupsafe import Markup, escape
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token, _TokenType

from dobby_dagster.domain.printable import printable

# By Dobby's language, the lexer; other languages are shown as they are. A language is text from the database.
_LEXERS = {
    "python": "python", "rust": "rust", "go": "go", "javascript": "javascript", "typescript": "typescript",
    "tsx": "typescript", "java": "java", "c": "c", "cpp": "cpp", "c++": "cpp", "csharp": "csharp", "c#": "csharp",
    "ruby": "ruby", "php": "php", "kotlin": "kotlin", "swift": "swift", "scala": "scala", "shell": "bash",
    "bash": "bash", "sql": "sql", "markdown": "markdown", "json": "json", "toml": "toml", "yaml": "yaml",
}  # fmt: skip
_CLASSES = (
    (Token.Comment, "c"), (Token.Literal.String, "s"), (Token.Literal.Number, "n"), (Token.Keyword.Constant, "n"),
    (Token.Keyword, "k"), (Token.Operator.Word, "k"), (Token.Name.Function, "f"), (Token.Name.Class, "f"),
    (Token.Name.Decorator, "d"), (Token.Name.Tag, "k"), (Token.Generic.Heading, "k"),
)  # fmt: skip
# Longer code is not highlighted.
_LONGEST = 20_000


def highlighted(code: str, language: str) -> Markup:
    """``code`` escaped, in spans of the classes c, s, n, k, f and d.

    >>> highlighted("x = 1 < 2", "python")
    Markup('x = <span class="n">1</span> &lt; <span class="n">2</span>')
    """
    text = printable(code, lines=True)
    lexer = _lexer(_LEXERS.get(language, "")) if len(text) <= _LONGEST else None
    if lexer is None:
        return escape(text)
    pieces: list[str] = []
    for kind, value in lexer.get_tokens(text):
        css = _class_of(kind)
        pieces.append(f'<span class="{css}">{escape(value)}</span>' if css else escape(value))
    return Markup("".join(pieces))  # noqa: S704 - each piece is escaped


@lru_cache(maxsize=len(_LEXERS) + 1)
def _lexer(name: str) -> Lexer | None:
    return get_lexer_by_name(name, ensurenl=False, stripnl=False) if name else None


@cache
def _class_of(kind: _TokenType) -> str:
    return next((css for parent, css in _CLASSES if kind in parent), "")
