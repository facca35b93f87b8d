"""A table of many columns, in which no word is broken: what does not fit beside goes below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from dobby_dagster.cli.output import out

# Of a column: a space on each side, and its border; of a table: one border more.
PADDING, BORDER = 3, 1


def print_wide_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose words stay whole, in as many parts as the terminal needs; each repeats the first column.

    Args:
        headers: Of the columns; the first one names the rows.
        rows: Cells, which may have several lines.
    """
    columns = list(zip(headers, *rows, strict=True))
    for part in split_columns([least_width(column) for column in columns], out.width):
        shown = [columns[place] for place in part]
        table = Table(header_style="bold")
        for column, width in zip(shown, widths(shown, out.width), strict=True):
            table.add_column(column[0], width=width, overflow="fold")
        for cells in zip(*(column[1:] for column in shown), strict=True):
            table.add_row(*map(Text, cells))
        out.print(table)


def least_width(cells: Sequence[str]) -> int:
    """The width of the longest word.

    >>> least_width(["installed", "int8 on the CPU"])
    9
    """
    return max((len(word) for cell in cells for word in cell.split()), default=1)


def split_columns(least: Sequence[int], width: int) -> Iterator[list[int]]:
    """Which columns are shown together, by their places, so that their words fit into ``width``.

    A column that does not even fit beside the first one is alone with it, and folded.

    >>> list(split_columns([9, 12, 12, 12], 45)), list(split_columns([9, 50, 4], 30))
    ([[0, 1, 2], [0, 3]], [[0, 1], [0, 2]])
    """
    part, used = [0], least[0] + PADDING + BORDER
    for place in range(1, len(least)):
        if len(part) > 1 and used + least[place] + PADDING > width:
            yield part
            part, used = [0], least[0] + PADDING + BORDER
        part.append(place)
        used += least[place] + PADDING
    yield part


def widths(columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """The width of each column: that of its longest word, and what is free goes where cells are longer.

    >>> widths([["a", "one"], ["b", "some words here"]], 23)
    [3, 13]
    """
    found = [least_width(column) for column in columns]
    wanted = [max(len(line) for cell in column for line in cell.splitlines() or [""]) for column in columns]
    free = width - BORDER - sum(found) - PADDING * len(found)
    while free > 0 and (short := [place for place, size in enumerate(found) if size < wanted[place]]):
        found[max(short, key=lambda place: wanted[place] - found[place])] += 1
        free -= 1
    if free < 0:  # a single word is wider than the terminal
        found[-1] = max(1, found[-1] + free)
    return found
