"""Untrusted text inside Markdown: escaped, so that it renders as text and never as an image, a link or HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from dobby_dagster.domain.printable import printable, shortened

_MEANINGFUL = re.compile(r"([\\`*_\[\]<!|~&$])")
# Renderers turn these into links anywhere, even after backslashes.
_ADDRESS = re.compile(r"\S*(?:://|www\.|@)\S*", re.IGNORECASE)
_BLOCK = re.compile(r"^(\d*)([-+.)#>=])")


def code(text: str) -> str:
    """``text`` as inline code."""
    shown = printable(text)
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") or not shown.strip() else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def block(text: str, language: str) -> str:
    """``text`` as a fenced code block; ``language`` is named if it is a word."""
    shown = printable(text, lines=True)
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    name = language if re.fullmatch(r"[\w+#.-]{1,30}", language) else ""
    return f"{fence}{name}\n{shown.rstrip()}\n{fence}"


def prose(text: str) -> str:
    r"""``text`` as one paragraph of plain words; anything like a URL becomes inline code.

    >>> print(prose("Reads *a* from http://x.test/![i](y)."))
    Reads \*a\* from `http://x.test/![i](y).`
    """
    words = printable(" ".join(text.split())).split(" ")
    shown = " ".join(code(word) if _ADDRESS.fullmatch(word) else _MEANINGFUL.sub(r"\\\1", word) for word in words)
    return _BLOCK.sub(r"\1\\\2", shown)


def table(columns: Mapping[str, Callable[[str], str]], rows: Iterable[Sequence[str]], length: int) -> str:
    """A Markdown table.

    Args:
        columns: By header, how to write the column's texts: :func:`code` or :func:`prose`.
        rows: One text per column.
        length: Longer texts are cut to this many characters.
    """
    lines = [list(columns), ["---"] * len(columns)]
    for row in rows:
        shown = [shortened(text, length) for text in row]
        lines.append([_cell(text, write) for text, write in zip(shown, columns.values(), strict=True)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str, write: Callable[[str], str]) -> str:
    """Escape pipes outside of code: in code, renderers disagree on whether a backslash escapes them."""
    return r" \| ".join(write(part) for part in text.split("|"))
