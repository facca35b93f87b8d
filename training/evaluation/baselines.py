"""What costs nothing: the words of the name, and the sentence of the nearest neighbour in the training set."""

from __future__ import annotations

import re
from collections.abc import Sequence

import bm25s

from training.corpus.pair import Pair

PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
# Enough to find a neighbour; more is slower and no better.
CODE_CHARACTERS = 1_000


def name_words(pair: Pair) -> str:
    """The words of the name, as a sentence."""
    last = re.split(r"[.:#]+", re.sub(r"#\d+$", "", pair.name))[-1] or pair.name
    return " ".join(PART.findall(last)).lower() + "."


def _terms(pair: Pair) -> str:
    return " ".join(PART.findall(pair.code[:CODE_CHARACTERS])).lower()


def nearest_summaries(train: Sequence[Pair], asked: Sequence[Pair]) -> list[str]:
    """For each of ``asked`` the sentence of the pair in ``train`` whose code is nearest by BM25 (Robertson 1994)."""
    index = bm25s.BM25()
    index.index(
        bm25s.tokenize([_terms(pair) for pair in train], stopwords=None, show_progress=False), show_progress=False
    )
    queries = bm25s.tokenize([_terms(pair) for pair in asked], stopwords=None, show_progress=False)
    found, _ = index.retrieve(queries, k=1, show_progress=False)
    return [train[int(row[0])].summary for row in found]
