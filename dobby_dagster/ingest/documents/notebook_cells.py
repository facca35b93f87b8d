"""Splits Jupyter notebooks into cells, without their outputs."""

from __future__ import annotations

import json
from typing import Any

from dobby_dagster.ingest.piece import Piece, UnreadableError


def cells_of(text: str) -> list[Piece]:
    """The cells of code and Markdown, named ``cell 1``, ``cell 2``, … in their order; the number is also the line.

    Raises:
        UnreadableError: It is not a notebook of version 3 or 4.
    """
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not a notebook: {type(error).__name__}") from error
    cells = _cells(notebook)
    if cells is None:
        raise UnreadableError("not a notebook: it has no cells")
    language = _language(notebook)
    pieces = [_piece(cell, number, language) for number, cell in enumerate(cells, 1)]
    return [piece for piece in pieces if piece is not None]


def _cells(notebook: Any) -> list[Any] | None:
    if not isinstance(notebook, dict):
        return None
    sheets = notebook.get("worksheets")  # of version 3
    holders = sheets if isinstance(sheets, list) else [notebook]
    lists = [cells for holder in holders if isinstance(holder, dict) and isinstance(cells := holder.get("cells"), list)]
    return [cell for cells in lists for cell in cells] if lists else None


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata")
    for part, name in (("language_info", "name"), ("kernelspec", "language")):
        about = metadata.get(part) if isinstance(metadata, dict) else None
        if isinstance(about, dict) and isinstance(about.get(name), str):
            return str(about[name]).lower()[:50]
    return "python"


def _piece(cell: Any, number: int, language: str) -> Piece | None:
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "heading"):
        return None
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if not isinstance(source, str) or not source.strip():
        return None
    content = source.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd").strip()
    content = content.encode("utf-8", "replace").decode()  # JSON can contain lone surrogates
    return Piece(f"cell {number}", "cell", language if cell["cell_type"] == "code" else "markdown", content, number)
