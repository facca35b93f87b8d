"""Which tokens a second output may not go on with; see :class:`~dobby_dagster.inference.engine.Avoid`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dobby_dagster.inference.engine import Avoid, Request
from dobby_dagster.inference.scoring.grounding import known_text, last_name, stands_in, words_of

# The likeliest tokens, at most, that are looked at for one that is allowed; without one the output ends.
MOST_TRIED = 64


class Avoidance:
    """Decides which token a second output goes on with.

    Args:
        request: The content, and what the output should not have.
        decode: From tokens to text.
        ends: Tokens that end the output.

    >>> request = Request("a", "def read_rows(path): ...", avoid=Avoid(repeats=True))
    >>> avoidance = Avoidance(request, decode=str, ends={0})
    >>> [avoidance.forbids(text) for text in ("Return the Rows", "Return the DataF", "Return the Rows of Ro")]
    [False, True, False]
    >>> avoidance.forbids("Reads a RowRow"), avoidance.forbids("Reads rows and reads")
    (True, True)
    """

    def __init__(self, request: Request, decode: Callable[[list[int]], str], ends: set[int]) -> None:
        self._avoid = request.avoid or Avoid()
        self._known = known_text(request.content)
        self._decode = decode
        self._ends = ends

    def choose(self, scores: np.ndarray, written: Sequence[int], otherwise: int) -> int:
        """The likeliest token that may come after ``written``; one that ends the output where no likely one may.

        Args:
            scores: (vocabulary,); minus infinity for tokens that are banned for other reasons.
            written: The output so far.
            otherwise: The token where no token ends an output.
        """
        most = min(MOST_TRIED, len(scores))
        likeliest = np.argpartition(scores, -most)[-most:]
        for token in likeliest[np.argsort(-scores[likeliest], kind="stable")].tolist():
            if not np.isfinite(scores[token]):
                break
            if token in self._ends or not self.forbids(self._decode([*written, token])):
                return int(token)
        return min(self._ends, default=otherwise)

    def forbids(self, text: str) -> bool:
        """Whether the last word of an output so far is one that it should not have, or begins none that it may."""
        name = last_name(text, capitals=self._avoid.capitals)
        if self._avoid.foreign_names and name and not stands_in(name, self._known, unfinished=True):
            return True
        if not self._avoid.repeats:
            return False
        *before, part = words_of(text) or [""]
        return part in before and text.lower().endswith(part)
