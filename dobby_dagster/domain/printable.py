"""Untrusted text for people: control sequences and invisible characters are escaped.

Everything that a person reads goes through here: :class:`~dobby_dagster.domain.errors.DobbyError`, the console and the
logs of the command. Keys, contents, paths, a server's answers and a model's files are all untrusted.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from typing import Any

from dobby_dagster.domain.secrets import redact

MESSAGE_LENGTH = 2_000
# Unicode's Default_Ignorable_Code_Points that are letters or marks: they have no width, and so can hide text.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_ASCII_LINES = re.compile(r"[\n\t -~]*")


def printable(value: object, *, lines: bool = False) -> str:
    r"""``value`` as text in which every character is visible.

    Control characters (ESC too, and the 8-bit ones), bidirectional and zero-width marks, line separators, lone
    surrogates, private and unassigned characters are written as escapes.

    Args:
        value: Anything, converted by ``str()``.
        lines: Keep line ends and tabs; only where several lines can't be mistaken for several messages.

    >>> printable("\x1b[31mred\u202e")
    '\\x1b[31mred\\u202e'
    """
    text = str(value)
    if text.isascii() and (text.isprintable() or (lines and _ASCII_LINES.fullmatch(text))):
        return text
    return "".join(c if _visible(c) or (lines and c in "\n\t") else _escape(c) for c in text)


def shortened(text: str, length: int) -> str:
    """``text``, cut off at ``length`` characters; that it was cut is seen.

    >>> shortened("a long line", 6), shortened("short", 6)
    ('a lon…', 'short')
    """
    return text if len(text) <= length else f"{text[: length - 1]}…"


def message(value: object) -> str:
    """``value`` as one line of a message, secrets masked; beyond ``MESSAGE_LENGTH`` the middle is left out."""
    line = printable(redact(str(value)))
    if len(line) <= MESSAGE_LENGTH:
        return line
    half = MESSAGE_LENGTH // 2
    return f"{line[:half]} … {line[-half:]}"


def printable_json(value: Any) -> str:
    r"""``value`` as one line of JSON in which every character is visible.

    >>> printable_json({"key": "\x9b31m"})
    '{"key": "\\u009b31m"}'
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if text.isprintable() else "".join(c if _visible(c) else json.dumps(c)[1:-1] for c in text)


def shell_word(text: str) -> str:
    r"""``text`` as one visible word that a shell (bash, zsh, ksh) reads back unchanged when it is pasted.

    >>> shell_word("it's \x1b[31m")
    "$'it\\'s \\x1b[31m'"
    """
    if printable(text) == text:
        return shlex.quote(text)
    return "$'" + "".join(f"\\{c}" if c in "\\'" else c if _visible(c) else _bytes(c) for c in text) + "'"


def _visible(character: str) -> bool:
    return (character.isprintable() or unicodedata.category(character) == "Zs") and not _INVISIBLE.match(character)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _bytes(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
