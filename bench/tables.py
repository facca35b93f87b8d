"""Markdown tables on standard output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print one Markdown table."""
    print("| " + " | ".join(headers) + " |\n|" + "---|" * len(headers))
    for row in rows:
        print("| " + " | ".join(_written(cell) for cell in row) + " |")
    print(flush=True)


def _written(cell: object) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 1_000 else f"{cell:.4g}"


def show(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print a heading and a table of like rows."""
    print(f"### {title}\n")
    table(list(rows[0]), [list(row.values()) for row in rows])
