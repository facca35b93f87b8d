"""Exact and near duplicates, by MinHash (Broder 1997) with banded locality-sensitive hashing."""

from __future__ import annotations

import hashlib
import re

from rensa import RMinHash, RMinHashLSH

from training.corpus.pair import Pair

PERMUTATIONS = 64
BANDS = 16
# Share of shingles in common from which two pairs count as one.
SIMILARITY = 0.8
SHINGLE = 4
WORD = re.compile(r"[A-Za-z]+|\S")


class Seen:
    """The pairs so far; a pair is new where none before is equal or nearly equal to it."""

    def __init__(self) -> None:
        self._exact: set[bytes] = set()
        self._near = RMinHashLSH(SIMILARITY, PERMUTATIONS, BANDS)
        self._hashes: list[RMinHash] = []

    def add(self, pair: Pair) -> str | None:
        """Take ``pair`` in and return None, or say why not: ``exact`` or ``near``."""
        words = WORD.findall(f"{pair.code[:1_500]} {pair.summary}".lower())
        key = hashlib.sha256(" ".join(words).encode()).digest()[:12]
        if key in self._exact:
            return "exact"
        self._exact.add(key)
        minhash = RMinHash(PERMUTATIONS, 0)
        minhash.update([" ".join(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))])
        if any(minhash.jaccard(self._hashes[other]) >= SIMILARITY for other in self._near.query(minhash)):
            return "near"
        self._near.insert(len(self._hashes), minhash)
        self._hashes.append(minhash)
        return None
