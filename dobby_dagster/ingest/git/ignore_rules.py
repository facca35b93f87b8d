"""Parses and matches the rules of a ``.gitignore``, in time linear in their length.

Not by pathspec, the maintained library: it also matches the folders above a path, which a walk has decided already, and
its regular expressions can be made arbitrarily slow. The rules: https://git-scm.com/docs/gitignore. A test compares the
results with git's.
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
        ignores: False if the line begins with ``!``.
        folders_only: The line ends with ``/``.
        anchored: Match the whole path; else only its last part.
        segments: A pattern for each part of a path; None for ``**``.
    """

    ignores: bool
    folders_only: bool
    anchored: bool
    segments: tuple[re.Pattern[str] | None, ...]

    def matches(self, parts: Sequence[str], *, is_folder: bool) -> bool:
        """Whether the rule matches this path; its parent folders are not considered."""
        if self.folders_only and not is_folder:
            return False
        return _match(self.segments, parts if self.anchored else parts[-1:])


def rules_of(text: str) -> list[Rule]:
    """The rules in the text of an ignore file, at most ``MAX_RULES``; lines that match nothing are dropped.

    >>> [rule] = rules_of("build/")
    >>> rule.matches(["src", "build"], is_folder=True), rule.matches(["build"], is_folder=False)
    (True, False)
    """
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
        segments = [_ANY if part == "**" and anchored else _segment(part) for part in _parts(line.removeprefix("/"))]
    except ValueError:
        return None
    if segments[-1] is _ANY:  # everything below, and not the folder itself
        segments.append(_segment("*"))
    return Rule(not negated, folders_only, anchored, tuple(segments))


def _parts(pattern: str) -> list[str]:
    """``pattern`` split at its slashes; one in a bracket expression does not count.

    >>> _parts("a[/b]/c")
    ['a[/b]', 'c']
    """
    parts, begin, at = [], 0, 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "/":
            parts.append(pattern[begin : at - 1])
            begin = at
        elif letter == "[":
            at = _bracket(pattern, at)[1]
        elif letter == "\\" and pattern[at : at + 1] != "/":
            at += 1
    return [*parts, pattern[begin:]]


def _match(segments: Sequence[re.Pattern[str] | None], parts: Sequence[str]) -> bool:
    """Match a glob of path parts, backtracking only to the last ``**``, which is enough."""
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
    """One part of a pattern. Stars are atomic, as in :func:`fnmatch.translate`, which prevents backtracking.

    Raises:
        ValueError: It can match nothing.
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
    """``*``, or a regular expression for each element that matches one letter."""
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
    """The regular expression of the bracket expression at ``at``, and where it ends."""
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
