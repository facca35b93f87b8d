"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str], otherwise: str = "", prefix: str = "") -> str:
    """``did you mean 'x'?`` if a known name is similar, else the list of known names.

    Args:
        name: What was given.
        known: All names that there are.
        otherwise: What is said instead of the list, where that is too long for a message.
        prefix: What all names begin with, which makes none of them similar.

    >>> suggestion("sumary", ["functionality", "summary"])
    "did you mean 'summary'?"
    >>> suggestion("x", ["functionality", "summary"])
    'there is: functionality, summary'
    >>> suggestion("x", ["functionality", "summary"], otherwise="see dobby models")
    'see dobby models'
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.removeprefix(prefix), [each.removeprefix(prefix) for each in names], n=1)
    if near:
        return f"did you mean '{prefix * (prefix + near[0] in names)}{near[0]}'?"
    if otherwise:
        return otherwise
    return f"there is: {', '.join(names)}" if names else "there is none"
