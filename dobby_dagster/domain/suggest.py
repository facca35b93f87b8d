"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` if a known name is similar, else the list of known names.

    >>> suggestion("sumary", ["functionality", "summary"])
    "did you mean 'summary'?"
    >>> suggestion("x", ["functionality", "summary"])
    'there is: functionality, summary'
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"there is: {', '.join(names)}" if names else "there is none"
