"""Prepares C and C++ for a grammar that does not know the preprocessor.

Text that would mislead it is replaced by spaces, so that offsets stay valid; pieces are cut from the original text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_COMMENT_OR_STRING = re.compile(rb"//[^\n]*|/\*.*?(?:\*/|\Z)|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_DIRECTIVE = re.compile(rb"^[ \t]*#[ \t]*(ifdef|ifndef|if|elif|else|endif)\b([^\n]*(?:\\\n[^\n]*)*)", re.MULTILINE)
# `class UI_EXPORT Window : public Widget {`: a word in capitals between the keyword and the name.
_EXPORT_MACRO = re.compile(
    rb"\b(?:class|struct|union|enum)\s+((?:(?:_*[A-Z][A-Z0-9_]+|\w+_(?:EXPORTS?|export|API|api|DLL))\b(?:\([^()\n]*\))?\s+){1,3})"
    rb"(?=[A-Za-z_]\w*(?:\s*<[^<>{};]*>)?\s*(?:final\s*)?(?:\{|:[^:]))"
)
# `G_BEGIN_DECLS`, `QT_END_NAMESPACE`, `Q_OBJECT` on a line of their own, and Qt's additions to `public:`.
_LONE_MACRO = re.compile(
    rb"^[ \t]*(?:(?:[A-Z0-9_]*_)?(?:BEGIN|END)(?:_[A-Z0-9_]*)?|Q_OBJECT|Q_GADGET)(?:\([^()\n]*\))?[ \t]*$"
    rb"|^[ \t]*(?:Q_SIGNALS|signals)[ \t]*:|(?<=public|rivate|tected)[ \t]+(?:Q_SLOTS|slots)(?=[ \t]*:)",
    re.MULTILINE,
)


@dataclass
class _Group:
    """One ``#if`` to ``#endif``.

    Attributes:
        condition: The text after ``#if``.
        marks: Begin and end of each of its directives.
        deltas: How many braces each branch leaves open.
    """

    condition: bytes
    marks: list[tuple[int, int]] = field(default_factory=list)
    deltas: list[int] = field(default_factory=lambda: [0])


def readable(data: bytes) -> tuple[bytes, frozenset[int]]:
    """``data`` without macros that are not code, and with one branch of each ``#if`` whose branches share a brace.

    Returns:
        The text, as long as ``data``, and the rows (from 0) of the ``#if`` that were removed.
    """
    masked = bytearray(data)
    plain = _COMMENT_OR_STRING.sub(lambda found: blank(found[0]), data)
    for found in _EXPORT_MACRO.finditer(plain):
        masked[found.start(1) : found.end(1)] = blank(found[1])
    for found in _LONE_MACRO.finditer(plain):
        masked[found.start() : found.end()] = blank(found[0])
    removed: list[int] = []
    for begin, end in _misleading(plain, removed):
        masked[begin:end] = blank(data[begin:end])
    return bytes(masked), frozenset(_rows(data, removed))


def blank(text: bytes) -> bytes:
    """``text`` with a space for each letter."""
    return re.sub(rb"[^\n]", b" ", text)


def _misleading(plain: bytes, removed: list[int]) -> list[tuple[int, int]]:
    """The spans of directives and branches to blank; the offset of each ``#if`` among them is added to ``removed``."""
    spans: list[tuple[int, int]] = []
    groups: list[_Group] = []
    at = 0
    for found in _DIRECTIVE.finditer(plain):
        if groups:
            groups[-1].deltas[-1] += _open_braces(plain, at, found.start())
        at = found.end()
        word = found[1]
        if word in (b"if", b"ifdef", b"ifndef"):
            groups.append(_Group(found[2].strip()))
        elif not groups:
            continue
        elif word != b"endif":
            groups[-1].deltas.append(0)
        groups[-1].marks.append(found.span())
        if word == b"endif":
            group = groups.pop()
            kept = _close(group, spans, removed)
            if groups:
                groups[-1].deltas[-1] += kept
    return spans


def _open_braces(plain: bytes, begin: int, end: int) -> int:
    return plain.count(b"{", begin, end) - plain.count(b"}", begin, end)


def _close(group: _Group, spans: list[tuple[int, int]], removed: list[int]) -> int:
    """Keep one branch of a group with unbalanced branches; returns how many braces that one leaves open."""
    if not any(group.deltas):
        return 0
    kept = 0
    if group.condition in (b"0", b"false"):
        kept = 1
    elif b"__cplusplus" in group.condition and len(group.deltas) == 1:
        kept = -1  # `extern "C" {`, or its brace
    spans += group.marks
    removed.append(group.marks[0][0])
    for branch, ((_, begin), (end, _)) in enumerate(zip(group.marks, group.marks[1:], strict=False)):
        if branch != kept:
            spans.append((begin, end))
    return group.deltas[kept] if 0 <= kept < len(group.deltas) else 0


def _rows(data: bytes, offsets: list[int]) -> list[int]:
    rows, row, at = [], 0, 0
    for offset in sorted(offsets):
        row += data.count(b"\n", at, offset)
        at = offset
        rows.append(row)
    return rows
