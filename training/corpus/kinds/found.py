"""A pair of a content and its sentence, where both are of use."""

from __future__ import annotations

import re

from dobby_dagster.ingest.documentation.first_sentence import first_sentence
from training.corpus.pair import Pair

MAX_CHARACTERS = 3_000
MIN_CHARACTERS = 40
# What points at something that is not in the content, or speaks to the reader instead of describing.
ELSEWHERE = re.compile(
    r"\b(?:add a short description|(?:19|20)\d\d|you|your|we|our|us|please|click|read more|learn more|following|i)\b|\bthese (?:are|tests)\b|[#]\d|CVE-|\bbug \d"
    r"|\b[0-9a-f]{8,}\b|\.\.\.",
    re.IGNORECASE,
)


def found(
    project: str,
    language: str,
    kind: str,
    name: str,
    code: str,
    text: str,
    documentation: str = "",
    at: int = 0,
) -> Pair | None:
    """The pair of ``code`` and the first sentence of ``text``, or None where either is of no use.

    Args:
        project: Where it comes from.
        language: Of the content, such as ``json``.
        kind: Of content, such as ``module``.
        name: Of what is described.
        code: The content without its description.
        text: The description, without comment markers.
        documentation: The description as it stood.
        at: Where in ``code`` it stood.
    """
    sentence = first_sentence(capital(text.strip()), name)
    if sentence is None or ELSEWHERE.search(sentence) or at >= MAX_CHARACTERS:
        return None
    if len(code.strip()) < MIN_CHARACTERS or _written(sentence) in _written(code):
        return None
    return Pair(project, language, kind, name, code[:MAX_CHARACTERS], documentation[:MAX_CHARACTERS], at, sentence)


def stated(project: str, language: str, kind: str, content: str, sentence: str) -> Pair | None:
    """The pair of a whole content and a sentence that a rule made of it, or None where the sentence is of no use."""
    if first_sentence(sentence) != sentence or len(content.strip()) < MIN_CHARACTERS:
        return None
    return Pair(project, language, kind, "", content[:MAX_CHARACTERS], "", 0, sentence)


def inserted(without: str, whole: str) -> tuple[str, int] | None:
    """What ``whole`` has more than ``without``, and where, or None where it is not one piece."""
    most = min(len(without), len(whole))
    at = next((i for i in range(most) if without[i] != whole[i]), most)
    more = whole[at : at + len(whole) - len(without)]
    return (more, at) if len(whole) > len(without) and without[:at] + more + without[at:] == whole else None


def listed(names: list[str], most: int = 5) -> str:
    """``a``, ``a and b``, ``a, b and c``, or ``a, b, c and others``: how many there are can't be seen in a cut content."""
    shown = names[:most]
    if len(names) > most:
        return f"{', '.join(shown)} and others"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def capital(text: str) -> str:
    """``text`` with its first letter large."""
    return text[:1].upper() + text[1:]


def _written(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().lower()
