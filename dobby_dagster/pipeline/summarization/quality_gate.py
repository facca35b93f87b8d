"""The quality gate: rejects outputs that are no summaries before they are stored."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from dobby_dagster.domain.errors import DegenerateOutputError
from dobby_dagster.domain.printable import shortened
from dobby_dagster.inference.prompts import CUT
from dobby_dagster.inference.scoring.grounding import numbers_of, shares_no_word

_CODE = re.compile(r"[;{}]|\w\(|[=:]\s*$|^\s*(def|class|func|function|return|import|fn|pub|static)\b|\w\s*=\s*\w")
# Outputs that are code as a whole: a fence, a tag, a definition, a statement, an object.
_PROGRAM = re.compile(
    r"```|</?\w+(?:\s[^<>]*)?>.*</|[{\[].*[}\]]\s*\Z"
    r"|(?:async\s+def|def|class|func|fn|function|public|private|static|struct)\s+[\w.*&<>:]+[^.!?]*[({:;]"
    r"|#\s*include\b|(?:import|from|package|using)\s+[\w.*{}, ]+;?(?:\n|\Z)"
    r"|(?:if|for|while|switch|return|elif|else)\b[^.!?]*[;{:]\s*\Z"
    r"|(?:if|for|while|switch)\s*\(.*[;}]\s*\Z"
    r"|(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP)\b.*\b(?:FROM|INTO|SET|TABLE|VIEW|INDEX|WHERE)\b(?!.*[.]\Z)"
    r"|[\w.\[\]>-]+\s*[-+*/|&]?=\s*\S.*[;)\]\d\w]\s*\Z|[\w.]+\([^()]*\)\s*;?\s*\Z",
    re.DOTALL,
)
# Found in shell scripts, and in no sentence about one.
_SHELL = re.compile(r"\"\$[@*]\"|;\s*(?:do|then|done|fi)\b|^set -[a-z]+ ", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z][a-z'-]*[,;:.!?]?")
_BEGINNING = re.compile(r"[A-Z][a-z']+ [a-z']+ ")
_NO_PROSE = re.compile(r"[;{}]|://|\w\(")
_RUN = re.compile(r"(\S)\1{11,}")
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_NAME = re.compile(r"[A-Za-z_]\w{7,}")
# A piece of two or more letters, three times in a row inside a word.
_STUTTER = re.compile(r"([a-z]{2,}?)\1{2,}")
_MARKS = "\ufffd\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_JOINING = frozenset(("a", "an", "the", "and", "or"))
MAX_PIECE_REPEATS = 2
# Maximum share of three-word sequences that occur three times or more: several sentences on one thing repeat some.
REPEATED_SHARE = 0.3


def gate(text: str, content: str | None, instruction: str) -> None:
    """Accept ``text`` as a summary, or raise the reason why it is none.

    Args:
        text: What the model wrote.
        content: The summarised content; None if it is unknown: the checks that need it are left out.
        instruction: The prompt's text.

    Raises:
        DegenerateOutputError: It is empty, has no words or has control characters, echoes the instruction or code, is
            code itself, repeats words or pieces of words, or has nothing in common with the content.
    """
    words = text.split()
    if not text.strip():
        raise DegenerateOutputError("the output is empty")
    odd = next((character for character in text if _is_control(character)), None)
    if odd is not None:
        raise DegenerateOutputError(f"the output holds the control character U+{ord(odd):04X}")
    if sum(character.isalpha() for character in text) < 2:
        raise DegenerateOutputError(f"the output holds no words: {_shown(text)}")
    if CUT in text or _echoes(text, content or "", instruction):
        raise DegenerateOutputError(f"the output is an echo: {_shown(text)}")
    if _repeats(text, words, content or "") or (content is not None and _stutters(text, content)):
        raise DegenerateOutputError(f"the output repeats itself: {_shown(text)}")
    if _is_code(text.strip(), words):
        raise DegenerateOutputError(f"the output is code, not a sentence: {_shown(text)}")
    if content is not None and numbers_of(text, content):
        raise DegenerateOutputError(f"the output holds numbers that are not in the content: {_shown(text)}")
    if content is not None and shares_no_word(text, content):
        raise DegenerateOutputError(f"the output holds no word of the content: {_shown(text)}")


def _is_control(character: str) -> bool:
    """Whether it is a control or direction character, half a surrogate pair, or the replacement character."""
    if character in "\n\r\t":
        return False
    return unicodedata.category(character) in ("Cc", "Cs", "Cn") or character in _MARKS


def _echoes(text: str, content: str, instruction: str) -> bool:
    flat, source, asked = (" ".join(value.split()) for value in (text, content[:200_000], instruction))
    if flat == source and len(flat) > 20:
        return True
    words = flat.split()
    if any(" ".join(words[i : i + 8]) in asked for i in range(len(words) - 7)):
        return True
    if _is_sentence(flat, words):
        return False  # the content's own documentation is a good summary, even with a name() in it
    return len(flat) >= 30 and flat in source and bool(_CODE.search(text))


def _is_sentence(flat: str, words: list[str]) -> bool:
    plain = sum(bool(_WORD.fullmatch(word)) for word in words)
    if flat[-1] == ":":  # introduces an example or a list, but may end a line of Python as well
        return plain >= 5 and bool(_BEGINNING.match(flat))
    if flat[-1] not in ".!?":  # cut off, or goes on in the content
        return plain >= max(5, len(words) / 2) and bool(_BEGINNING.match(flat)) and not _NO_PROSE.search(flat)
    return plain >= min(5, len(words) - 1) or bool(_BEGINNING.match(flat))


def _is_code(text: str, words: list[str]) -> bool:
    if _SHELL.search(text):
        return True
    return bool(_PROGRAM.match(text)) and (text.startswith("```") or not _is_sentence(text, words))


def _repeats(text: str, words: list[str], content: str) -> bool:
    if _RUN.search(text):
        return True
    if len(words) >= 8 and len(set(words)) / len(words) < 0.34:
        return True
    plain = [word.lower() for word in re.findall(r"\w+", text)]
    named = [word for word in plain if word not in _JOINING]
    run = _in_a_row(named, 1) or next(filter(None, (_in_a_row(plain, length) for length in range(1, 7))), None)
    if run is not None:
        return " ".join(run) not in " ".join(re.findall(r"\w+", content[:200_000].lower()))
    runs = Counter(tuple(plain[i : i + 3]) for i in range(len(plain) - 2))
    again = sum(count for count in runs.values() if count >= 3)
    return again > REPEATED_SHARE * runs.total()


def _in_a_row(words: list[str], length: int) -> list[str] | None:
    """The first ``length`` words that are repeated at once, as in "x x x" or "a b a b a"; None if there are none.

    Numbers may repeat.
    """
    span = 2 * length + 1
    for i in range(len(words) - span + 1):
        if not words[i].isdigit() and all(words[j] == words[j + length] for j in range(i, i + span - length)):
            return words[i : i + span]
    return None


def _stutters(text: str, content: str) -> bool:
    """Whether a word that is not in the content repeats a piece of itself three times."""
    for name in _NAME.findall(text):
        if name in content:
            continue
        pieces = Counter(piece.lower() for piece in _PIECE.findall(name) if len(piece) > 2)
        if (pieces and max(pieces.values()) > MAX_PIECE_REPEATS) or _STUTTER.search(name.lower()):
            return True
    return False


def _shown(text: str) -> str:
    return repr(shortened(" ".join(text.split()), 80))
