"""The way out of a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` where a known name is near, else the list of what there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"there is: {', '.join(names)}" if names else "there is none"
