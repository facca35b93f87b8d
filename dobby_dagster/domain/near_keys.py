"""Keys that resemble a misspelt one, part by part: a slip in one folder or name leaves all others as they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher
from heapq import nlargest

_PARTS = re.compile(r"[/:.]+")
# Less is no resemblance, of two parts and of two keys.
_OF_PARTS, _OF_KEYS = 0.7, 0.6
# Keys that resemble it by this much less than the best are not named.
_MARGIN = 0.1
# The last part may be the beginning of a name.
_BEGINNING = 0.9
# Letters of a part; parts of a key; the longest misspelt ones of these are compared with all parts that there are.
_MAX_PART, _MAX_PARTS, _MAX_MISSPELT = 60, 12, 3
# Parts of like letters that are compared letter by letter: hashes are all like each other.
_MAX_COMPARED = 1_000


def near_keys(wanted: str, keys: Collection[str], most: int = 3) -> list[str]:
    """The keys whose folders, files and names are most like those of ``wanted``, the best first.

    The time is linear in the number of keys, whatever is asked for.

    Args:
        wanted: A key, a part or a beginning of one, with slips.
        keys: All that there are.
        most: Keys that are returned.

    >>> near_keys("clii/record_lokup.py", ["cli/record_lookup.py::found_key", "cli/record_lookup.py", "cli/app.py"])
    ['cli/record_lookup.py', 'cli/record_lookup.py::found_key']
    >>> near_keys("found_kye", ["cli/record_lookup.py::found_key", "cli/app.py"])
    ['cli/record_lookup.py::found_key']
    """
    asked = _parts(wanted)[-_MAX_PARTS:]
    known = {part for key in keys for part in _parts(key)}
    misspelt = sorted({part for part in asked if part not in known}, key=len)[-_MAX_MISSPELT:]
    # What a key gains by each of its parts, for each part that was asked for.
    gains: dict[str, dict[int, float]] = {}
    for place, part in enumerate(asked):
        near = {part: 1.0} if part in known else {}
        if part in misspelt:
            near = _beginning_with(part, known) if place == len(asked) - 1 else _near(part, known)
        for each, ratio in near.items():
            gains.setdefault(each, {})[place] = ratio * len(part)
    least = _OF_KEYS * sum(map(len, asked))
    scores: list[tuple[float, int, str]] = []
    for key in keys:
        parts = _parts(key)
        if gains.keys().isdisjoint(parts):
            continue
        score = _score([gains[part] for part in parts if part in gains])
        if score >= least:
            scores.append((-score, len(parts), key))
    best = min(scores, default=(0.0, 0, ""))[0] + _MARGIN * sum(map(len, asked))
    return [key for score, _, key in sorted(scores)[:most] if score <= best]


def _score(gains: Iterable[dict[int, float]]) -> float:
    best: dict[int, float] = {}
    for gain in gains:
        for place, each in gain.items():
            if each > best.get(place, 0.0):
                best[place] = each
    return sum(best.values())


def _parts(key: str) -> list[str]:
    return [part[:_MAX_PART] for part in _PARTS.split(key.casefold()) if part]


def _beginning_with(part: str, known: Collection[str]) -> dict[str, float]:
    """:func:`_near`, and those that begin nearly so."""
    near = _near(part, known)
    begin = _near(part, {each[: len(part)] for each in known})
    for each in known:
        if (ratio := begin.get(each[: len(part)])) is not None:
            near[each] = max(near.get(each, 0.0), _BEGINNING * ratio)
    return near


def _near(part: str, known: Iterable[str]) -> dict[str, float]:
    """How like ``part`` each of the known parts is that is like it at all."""
    matcher = SequenceMatcher(b=part, autojunk=False)
    without = dict.fromkeys(map(ord, part))
    alike: list[tuple[float, str]] = []
    for other in known:
        needed = _OF_PARTS * (len(other) + len(part)) / 2
        # No ratio is above what lengths and letters allow; most parts are told apart by them, in a tenth of the time.
        if min(len(other), len(part)) < needed or len(other) - len(other.translate(without)) < needed:
            continue
        matcher.set_seq1(other)
        if (quick := matcher.quick_ratio()) >= _OF_PARTS:
            alike.append((quick, other))
    found: dict[str, float] = {}
    for _, other in nlargest(_MAX_COMPARED, alike):
        matcher.set_seq1(other)
        if (ratio := matcher.ratio()) >= _OF_PARTS:
            found[other] = ratio
    return found
