"""The sentence of a content's own documentation that a refused output begins with.

Documentation may go on with a link, an example or a list, which the quality gate takes for a line of code. Greedy
decoding writes the same at every attempt, so that without this such a record would fail for ever.
"""

from __future__ import annotations

import re

# A sentence in words only: no line of code is one.
_WORDS = re.compile(r"[A-Z][\w'’-]*(?:,? [\w'’-]+){2,}")
_END = re.compile(r"\S*://|[:.!?](?=\s|\Z)")
# What announces the link: ", for more info see".
_POINTER = re.compile(
    r"(?:[,;.(]|\s-+)?\s*\bfor (?:more |further )?(?:info\w*|details?|reference)\b[\w, ]{0,40}\Z"
    r"|(?:[,;.(]|\s-+)\s*(?:see|cf|refer to)\b[\w ]{0,20}\Z",
    re.IGNORECASE,
)


def own_sentence(text: str, content: str) -> str | None:
    """What ``text`` says before a link, an example or a list, if it stands so in ``content``; None if it does not.

    >>> own_sentence("Returns the parsed links, for more info see: https://a.b/c", "Returns the parsed links, for more")
    'Returns the parsed links.'
    >>> own_sentence("Node betweenness_centrality helper:", '"Node betweenness_centrality helper:"')
    'Node betweenness_centrality helper.'
    >>> own_sentence("for item in the_items:", "for item in the_items:") is None
    True
    """
    flat, source = (" ".join(value.split()) for value in (text, content[:200_000]))
    end = _END.search(flat)
    said = flat[: end.start()].rstrip() if end else ""
    said = _POINTER.sub("", said).rstrip(" ,;(-")
    return f"{said}." if _WORDS.fullmatch(said) and said in source else None
