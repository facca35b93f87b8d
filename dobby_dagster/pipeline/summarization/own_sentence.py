"""The sentence of a content's own documentation that a refused output begins with.

Documentation may go on with a link, an example or a list, which the quality gate takes for a line of code. Greedy
decoding writes the same at every attempt, so that without this such a record would fail for ever.
"""

from __future__ import annotations

import re

# A sentence in words only, and not all of them with a capital: no line of code and no heading is one.
_WORDS = re.compile(r"[A-Z][\w'’-]*(?:,? [\w'’-]+){2,}")
_SMALL = re.compile(r" [a-z]")
_END = re.compile(r"://|[:.!?](?=\s|\Z)")
# What announces the link: ", for more info see".
_POINTER = re.compile(
    r"(?:[,;.(]|\s-+)\s*\bfor (?:more |further )?(?:info\w*|details?|reference)\b[\w, ]{0,40}\Z"
    r"|(?:[,;.(]|\s-+)\s*(?:see|cf|refer to)\b[\w ]{0,20}\Z",
    re.IGNORECASE,
)
_NOTICE = re.compile(r"\b(?:copyright|licen[sc]ed?|all rights reserved|todo|fixme|xxx)\b", re.IGNORECASE)
_COMMENT = re.compile(r"[ \t]*(?:#+|//+!?|--+|;;+|\*)(?!/)[ \t]*")
# A docstring in single quotes on a line of its own, and a comment behind code.
_ONE_LINE = re.compile(r"^[ \t]*[rRuU]?(?:\"([^\"\n]+)\"|'([^'\n]+)')[ \t]*$", re.MULTILINE)
_BEHIND = re.compile(r"\S[ \t]+(?:#+|//+!?|--+)[ \t]+(\S.*)$", re.MULTILINE)
# Characters of an output and of a content that are looked at.
_LONGEST, _LOOKED_AT = 2_000, 200_000


def own_sentence(text: str, content: str) -> str | None:
    """What ``text`` says before a link, an example or a list, if ``content`` has it in a docstring or a comment.

    None if it has not, and of licences and notes of what is to be done.

    >>> own_sentence("Returns the links, for more info see: https://a.b/c", "# Returns the links, for more info see:")
    'Returns the links.'
    >>> own_sentence("Node betweenness_centrality helper:", "'''Node betweenness_centrality helper:'''")
    'Node betweenness_centrality helper.'
    >>> own_sentence("for item in the_items:", "for item in the_items:") is None
    True
    """
    flat = " ".join(text[:_LONGEST].split())
    end = _END.search(flat)
    if end is None:
        return None
    said = flat[: end.start()]
    if end[0] == "://":
        said = said.rpartition(" ")[0]
    said = _POINTER.sub("", said.rstrip()).rstrip(" ,;(-")
    if not _WORDS.fullmatch(said) or not _SMALL.search(said) or _NOTICE.search(said):
        return None
    return f"{said}." if said in _documentation(content[:_LOOKED_AT]) else None


def _documentation(content: str) -> str:
    """The docstrings and comments of a content, on one line; of whatever language, so some code may be among it."""
    found = [*content.split('"""')[1::2], *content.split("'''")[1::2]]
    found += [part.partition("*/")[0] for part in content.split("/*")[1:]]
    found += [line[begin.end() :] for line in content.split("\n") if (begin := _COMMENT.match(line))]
    found += [one or other for one, other in _ONE_LINE.findall(content)]
    found += _BEHIND.findall(content)
    text = " ".join(_COMMENT.sub("", line, count=1) for part in found for line in part.split("\n"))
    return " ".join(text.split())
