"""Untrusted text inside Markdown: it stays text, whatever it holds; no image, link or HTML comes of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from dobby_dagster.domain.printable import printable, shortened

_MEANINGFUL = re.compile(r"([\\`*_\[\]<!|~&$])")
# Renderers make links of these wherever they stand, backslashes or not.
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
    """``text`` as a fenced block; ``language`` is named where it is a word."""
    shown = printable(text, lines=True)
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    name = language if re.fullmatch(r"[\w+#.-]{1,30}", language) else ""
    return f"{fence}{name}\n{shown.rstrip()}\n{fence}"


def prose(text: str) -> str:
    r"""``text`` as one paragraph of plain words; what looks like an address is code.

    >>> print(prose("Reads *a* from http://x.test/![i](y)."))
    Reads \*a\* from `http://x.test/![i](y).`
    """
    words = printable(" ".join(text.split())).split(" ")
    shown = " ".join(code(word) if _ADDRESS.fullmatch(word) else _MEANINGFUL.sub(r"\\\1", word) for word in words)
    return _BLOCK.sub(r"\1\\\2", shown)


def table(columns: Mapping[str, Callable[[str], str]], rows: Iterable[Sequence[str]], length: int) -> str:
    """A table.

    Args:
        columns: How each column is written, :func:`code` or :func:`prose`, by its header.
        rows: A text a column.
        length: Characters of a text that are shown, at most.
    """
    lines = [list(columns), ["---"] * len(columns)]
    for row in rows:
        shown = [shortened(text, length) for text in row]
        lines.append([_cell(text, write) for text, write in zip(shown, columns.values(), strict=True)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str, write: Callable[[str], str]) -> str:
    """A pipe ends a cell, also within code; a backslash before it is read in two ways. So it stands by itself."""
    return r" \| ".join(write(part) for part in text.split("|"))
