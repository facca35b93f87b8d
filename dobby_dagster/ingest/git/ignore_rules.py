"""The rules of a ``.gitignore``, matched in time that grows with their length and no faster.

Matched here and not by a library: pathspec, the well-kept one, also matches the folders above a path, which is wrong
for a walk that has decided them already, and by regular expressions that a pattern can make as slow as it likes. The
rules: https://git-scm.com/docs/gitignore. A test holds them against git.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_RULES = 2_000
_ANY = None  # a segment `**`: any number of folders
_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "xdigit": "0-9A-Fa-f",
    "space": r"\s", "blank": r" \t", "punct": r"!-/:-@\[-`{-~", "cntrl": r"\x00-\x1f\x7f", "print": " -~",
    "graph": "!-~",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of an ignore file.

    Attributes:
        ignores: False where the line begins with ``!``.
        folders_only: The line ends with ``/``.
        anchored: The whole path is matched; else its last part.
        segments: A pattern for each part of a path; None for ``**``.
    """

    ignores: bool
    folders_only: bool
    anchored: bool
    segments: tuple[re.Pattern[str] | None, ...]

    def matches(self, parts: Sequence[str], *, is_folder: bool) -> bool:
        """Whether the rule speaks of this path; the folders above it are not looked at."""
        if self.folders_only and not is_folder:
            return False
        return _match(self.segments, parts if self.anchored else parts[-1:])


def rules_of(text: str) -> list[Rule]:
    """The rules in an ignore file's text; at most ``MAX_RULES``, and none for a line that matches nothing."""
    rules: list[Rule] = []
    for line in text.split("\n"):
        if len(rules) == MAX_RULES:
            break
        if (rule := _rule(line.removesuffix("\r"))) is not None:
            rules.append(rule)
    return rules


def _rule(line: str) -> Rule | None:
    if line.startswith("#"):
        return None
    line = re.sub(r"(?<!\\) +$", "", line) if line.endswith(" ") else line
    negated = line.startswith("!")
    line = line.removeprefix("!")
    folders_only = line.endswith("/")
    line = line.removesuffix("/")
    if not line or line == "/":
        return None
    anchored = "/" in line
    try:
        segments = [_ANY if part == "**" and anchored else _segment(part) for part in line.removeprefix("/").split("/")]
    except ValueError:
        return None
    if segments[-1] is _ANY:  # everything below, and not the folder itself
        segments.append(_segment("*"))
    return Rule(not negated, folders_only, anchored, tuple(segments))


def _match(segments: Sequence[re.Pattern[str] | None], parts: Sequence[str]) -> bool:
    """Glob over whole parts. As for letters, it is enough to go back to the last ``**``."""
    at = part = 0
    last, resume = -1, 0
    while part < len(parts):
        segment = segments[at] if at < len(segments) else ""
        if segment is _ANY:
            last, resume, at = at, part, at + 1
        elif isinstance(segment, re.Pattern) and segment.fullmatch(parts[part]):
            at, part = at + 1, part + 1
        elif last >= 0:
            resume += 1
            at, part = last + 1, resume
        else:
            return False
    return all(segment is _ANY for segment in segments[at:])


def _segment(glob: str) -> re.Pattern[str]:
    """One part of a pattern. Stars are atomic, as in :func:`fnmatch.translate`, so nothing is tried twice.

    Raises:
        ValueError: It matches nothing.
    """
    pieces: list[list[str]] = [[]]
    for one in _tokens(glob):
        if one == "*":
            pieces.append([])
        else:
            pieces[-1].append(one)
    first, *rest = ("".join(piece) for piece in pieces)
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1] if piece)
    return re.compile(first + middle + (f".*{rest[-1]}" if rest else ""), re.DOTALL)


def _tokens(glob: str) -> Iterator[str]:
    """``*``, and a regular expression for each other thing that matches one letter."""
    at = 0
    while at < len(glob):
        letter = glob[at]
        at += 1
        if letter == "*":
            yield "*"
        elif letter == "?":
            yield "."
        elif letter == "[":
            letters, at = _bracket(glob, at)
            yield letters
        elif letter == "\\":
            if at == len(glob):
                raise ValueError(glob)
            yield re.escape(glob[at])
            at += 1
        else:
            yield re.escape(letter)


def _bracket(glob: str, at: int) -> tuple[str, int]:
    """A set of letters that begins at ``at``, and where it ends."""
    negated = glob[at : at + 1] in ("!", "^")
    at += negated
    items: list[str] = []
    begin = at
    while at == begin or glob[at : at + 1] != "]":
        if at >= len(glob):
            raise ValueError(glob)
        named = re.compile(r"\[:(\w+):\]").match(glob, at)
        if named:
            if named[1] not in _CLASSES:
                raise ValueError(glob)
            items.append(_CLASSES[named[1]])
            at = named.end()
            continue
        low, at = _letter(glob, at)
        high = low
        if glob[at : at + 1] == "-" and glob[at + 1 : at + 2] not in ("", "]"):
            high, at = _letter(glob, at + 1)
        items.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else re.escape(low))
    return f"[{'^' * negated}{''.join(items)}]", at + 1


def _letter(glob: str, at: int) -> tuple[str, int]:
    at += glob[at] == "\\"
    if at >= len(glob):
        raise ValueError(glob)
    return glob[at], at + 1
