"""The gate that keeps worthless outputs from being stored as summaries."""

from __future__ import annotations

import re
from collections import Counter

from dobby_dagster.domain.errors import DegenerateOutputError

_CODE = re.compile(r"[;{}]|\w\(|[=:]\s*$|^\s*(def|class|func|function|return|import|fn|pub|static)\b|\w\s*=\s*\w")
_WORD = re.compile(r"[A-Za-z][a-z'-]*[,;:.!?]?")
_BEGINNING = re.compile(r"[A-Z][a-z']+ [a-z']+ ")
_RUN = re.compile(r"(\S)\1{11,}")


def gate(text: str, content: str, instruction: str) -> None:
    """Let ``text`` pass, or say what is wrong with it.

    Args:
        text: What the model wrote.
        content: What it was to summarise.
        instruction: The prompt's text.

    Raises:
        DegenerateOutputError: It is empty, holds no words, is an echo of the instruction or of code, or repeats itself.
    """
    words = text.split()
    if not text.strip():
        raise DegenerateOutputError("the output is empty")
    if sum(character.isalpha() for character in text) < 2:
        raise DegenerateOutputError(f"the output holds no words: {_shown(text)}")
    if _echoes(text, content, instruction):
        raise DegenerateOutputError(f"the output is an echo: {_shown(text)}")
    if _repeats(text, words):
        raise DegenerateOutputError(f"the output repeats itself: {_shown(text)}")


def _echoes(text: str, content: str, instruction: str) -> bool:
    flat, source, asked = (" ".join(value.split()) for value in (text, content[:200_000], instruction))
    if flat == source and len(flat) > 20:
        return True
    words = flat.split()
    if any(" ".join(words[i : i + 8]) in asked for i in range(len(words) - 7)):
        return True
    if _is_sentence(flat, words):
        return False  # of the content's own documentation: a good summary, even with a name() in it
    return len(flat) >= 30 and flat in source and bool(_CODE.search(text))


def _is_sentence(flat: str, words: list[str]) -> bool:
    plain = sum(bool(_WORD.fullmatch(word)) for word in words)
    if flat[-1] == ":":  # of an example or a list; a line of Python ends so as well
        return plain >= 5 and bool(_BEGINNING.match(flat))
    return flat[-1] in ".!?" and (plain >= min(5, len(words) - 1) or bool(_BEGINNING.match(flat)))


def _repeats(text: str, words: list[str]) -> bool:
    if _RUN.search(text):
        return True
    if len(words) >= 8 and len(set(words)) / len(words) < 0.34:
        return True
    runs = Counter(tuple(words[i : i + 3]) for i in range(len(words) - 2))
    return bool(runs) and max(runs.values()) >= 3


def _shown(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= 80 else flat[:77] + "...")
