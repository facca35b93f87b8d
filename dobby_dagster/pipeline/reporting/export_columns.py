"""The columns of an export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dobby_dagster import __version__
from dobby_dagster.domain.records import readable_text

COLUMNS = (
    "key", "state", "summary", "confidence", "model", "prompt", "fingerprint", "truncated", "finish_reason",
    "prompt_tokens", "output_tokens", "mean_logprob", "min_logprob", "created_at", "error", "reason", "batch",
    "path", "language", "content_type", "priority", "size", "metadata", "dobby_version",
)  # fmt: skip
CONTENT = "content"


def described(rows: Iterable[Mapping[str, Any]], *, content: bool = False) -> Iterator[dict[str, Any]]:
    """Rows of :meth:`~dobby_dagster.store.ledger.reports.Reports.rows` as they are exported: ``COLUMNS``, in order.

    Args:
        rows: Rows of the source, with states and summaries.
        content: Add the column ``content`` as text; None for bytes that are not UTF-8.
    """
    for row in rows:
        metadata = row.get("metadata") or {}
        entry = {name: row.get(name) for name in COLUMNS}
        entry |= {"path": metadata.get("path"), "metadata": metadata, "dobby_version": __version__}
        yield entry | ({CONTENT: readable_text(row.get(CONTENT))} if content else {})


def extra_columns(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The optional columns that ``entry`` has."""
    return (CONTENT,) if CONTENT in entry else ()
