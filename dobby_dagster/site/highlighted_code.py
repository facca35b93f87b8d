"""Code as HTML with a class for each kind of token.

Contents are untrusted, and a general highlighter's lexers take quadratic time or more for some of them; these tokens
take linear time for any.
"""

from __future__ import annotations

from markupsafe import Markup, escape

from dobby_dagster.domain.printable import printable
from dobby_dagster.site.languages import CONSTANTS, DEFINING, LANGUAGES


def highlighted(code: str, language: str) -> Markup:
    """``code`` escaped, in spans by the kind of token.

    Their classes are c (comment), s (string), n (number), d (directive), k (keyword) and f (name being defined).

    >>> highlighted("def f(): ...  # <", "python")
    Markup('<span class="k">def</span> <span class="f">f</span>(): ...  <span class="c"># &lt;</span>')
    """
    text = printable(code, lines=True)
    known = LANGUAGES.get(language)
    if known is None:
        return escape(text)
    pieces: list[str] = []
    end, before = 0, ""
    for token in known.tokens.finditer(text):
        kind, word = token.lastgroup or "", token[0]
        if kind == "w":
            kind = _kind_of(word, before, known.keywords)
            before = word
        else:
            before = ""
        if kind:
            pieces += (escape(text[end : token.start()]), f'<span class="{kind}">{escape(word)}</span>')
            end = token.end()
    return Markup("".join((*pieces, escape(text[end:]))))  # noqa: S704 - each piece is escaped


def _kind_of(word: str, before: str, keywords: frozenset[str]) -> str:
    """The class of a word after the word ``before``; empty of an ordinary name."""
    if before in DEFINING and word not in keywords:
        return "f"
    if word in keywords:
        return "k"
    return "n" if word in CONSTANTS else "d" if word.startswith("@") else ""
