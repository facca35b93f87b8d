"""The words by which a record is found: those of its key and summary, and of the identifiers in its content.

The same function splits what is stored and what is asked for, so an identifier that is asked for in any of its
spellings finds its record: ``getUserName`` is the words ``getusername``, ``get``, ``user`` and ``name``, and so is
``get_user_name``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from dobby_dagster.domain.records import Content, readable_text

IDENTIFIERS = 40
QUERY_WORDS = 32
LONGEST_WORD = 64
# Of a content, only the beginning is read, in characters; of a document at most this many words are kept.
READ = 20_000
DOCUMENT_WORDS = 600
# Without those that are names in code, such as get, name, self, all and no.
_STOP_WORDS = """
    a an and are as at be been but by for from had has have if in into is it its of on or not such than that the
    their then there these they this those to was were what when where which who why will with would how does do
    did can could should may might must i me my we our you your
"""
# Words of programming languages that say nothing of the code that they are in.
_KEYWORDS = """
    abstract and as assert async auto await begin bool boolean break case catch char class const continue def
    default del do double elif else elsif end endif enum except export extends extern false final finally float
    fn for foreach from func function global go goto if impl implements import in include inline instanceof int
    interface is lambda let long loop match mod module mut namespace new nil none nonlocal not null object of or
    override package pass private protected pub public raise return rescue self short signed sizeof static str
    string struct super switch then this throw throws trait true try type typedef typename typeof undef union
    unsigned use using var virtual void volatile where while with yield
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
KEYWORDS = frozenset(_KEYWORDS.split())
_RUN = re.compile(r"\w+")
_IDENTIFIER = re.compile(r"[^\W\d]\w+")
_PART = re.compile(r"[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]+|\d+")


def document_words(key: str, summary: str, content: Content) -> str:
    """What is indexed of a record: words with a space between.

    The words of the key count twice, then come those of the summary, then of the first ``IDENTIFIERS`` distinct
    identifiers of the content. A long document is cut off.

    >>> document_words("src/web.py::parseURL", "Parses a URL.", "def parseURL(text): return URL(text)")
    'src web py parseurl parse url src web py parseurl parse url parses url parseurl parse url text url'
    """
    found = [*words(key)] * 2 + [*words(summary)]
    for identifier in identifiers(content):
        found += words(identifier)
    return " ".join(found[:DOCUMENT_WORDS])


def query_words(text: str) -> list[str]:
    """The distinct words of what was asked for, ``QUERY_WORDS`` at most; none where it has only stop words.

    >>> query_words("Where is the parseURL function?")
    ['parseurl', 'parse', 'url', 'function']
    """
    return _distinct(words(text), QUERY_WORDS)


def identifiers(content: Content) -> list[str]:
    """The first ``IDENTIFIERS`` distinct identifiers of ``content``, without keywords; none of a binary content."""
    text = readable_text(content)
    if text is None:
        return []
    found = (match[0] for match in _IDENTIFIER.finditer(text[:READ]) if match[0].lower() not in KEYWORDS)
    return _distinct(found, IDENTIFIERS)


def words(text: str) -> Iterator[str]:
    """The words of ``text`` in lower case: each identifier whole and in parts, without stop words.

    >>> list(words("HTTPServer.max_retries is 3, utf8"))
    ['httpserver', 'http', 'server', 'maxretries', 'max', 'retries', '3', 'utf8', 'utf']
    """
    for match in _RUN.finditer(text if text.isascii() else unicodedata.normalize("NFKC", text)):
        yield from _words_of(match[0])


@lru_cache(maxsize=20_000)  # the records of a tree have most identifiers in common
def _words_of(run: str) -> tuple[str, ...]:
    whole = _lower(run)
    parts = [_lower(part) for part in _PART.findall(run) if not part.isdecimal()]
    found = [whole] if parts in ([], [whole]) else [whole, *parts]
    return tuple(word[:LONGEST_WORD] for word in found if word and word not in STOP_WORDS)


def _distinct(names: Iterator[str], limit: int) -> list[str]:
    """The first ``limit`` distinct names; no more are read."""
    found: dict[str, None] = {}
    for name in names:
        found[name] = None
        if len(found) == limit:
            break
    return list(found)


def _lower(run: str) -> str:
    """``run`` in lower case, without the underscores and marks at which the index would split it."""
    lower = run.lower()
    return lower if lower.isalnum() else "".join(c for c in lower if c.isalnum())
