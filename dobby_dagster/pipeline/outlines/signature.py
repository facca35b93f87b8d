"""The line that declares a function or class, out of its source code."""

from __future__ import annotations

import re

LONGEST = 160
# Lines of a declaration, and lines of comments and decorators above it that are looked through.
LINES, ABOVE = 12, 400
_BESIDE = re.compile(r"""\s*(?:#(?!define)|//|/\*|\*|--|;|@|\[|""\"|''')""")
_QUALIFIER = re.compile(r"#\d+$")


def own_name(name: str) -> str:
    """The last part of a qualified name, without the number that makes it unique.

    >>> own_name("Reader.read#2"), own_name("n::C<int>::z"), own_name("main")
    ('read', 'z', 'main')
    """
    return re.split(r"::|\.", _QUALIFIER.sub("", name))[-1]


def signature(content: str, name: str) -> str:
    r"""The declaration of ``name``, without its body and without what stands above it, on one line.

    Args:
        content: Source code of the function or class, with the comments above it.
        name: Qualified in its file.

    >>> signature('# Adds.\n@cache\ndef add(a,\n        b) -> int:\n    return a + b', "Sum.add")
    'def add(a, b) -> int'
    >>> signature("/// Adds one.\npub fn add(x: i32) -> i32 { x + 1 }", "add")
    'pub fn add(x: i32) -> i32'
    """
    lines = content.splitlines()[:ABOVE]
    word = re.compile(rf"(?<!\w){re.escape(own_name(name))}(?!\w)")
    first = next((i for i, line in enumerate(lines) if word.search(line) and not _BESIDE.match(line)), None)
    if first is None:
        return own_name(name)
    return _until_body(" ".join(line.strip() for line in lines[first : first + LINES])) or own_name(name)


def _until_body(text: str) -> str:
    """The beginning of ``text``, up to the brace, colon or arrow outside of brackets that begins a body."""
    depth = 0
    for at, mark in enumerate(text[: LONGEST * 4]):
        if mark in "([":
            depth += 1
        elif mark in ")]":
            depth -= 1
        elif depth <= 0 and (mark in "{;" or (mark == ":" and _ends(text, at))):
            text = text[:at]
            break
    text = " ".join(text.split()).replace("( ", "(").replace(", )", ")").replace(" )", ")")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _ends(text: str, at: int) -> bool:
    """Whether the colon at ``at`` ends a declaration, as in Python: in other languages a type or a name follows it."""
    begins = re.match(r"(?:async\s+)?(?:def|class)\b", text) is not None
    return begins and text[at : at + 2] != "::"
