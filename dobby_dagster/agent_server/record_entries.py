"""Records as entries of an answer: state, summary, and whether that is of the present content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dobby_dagster.agent_server.answer import NOTE_BYTES, SUMMARY_BYTES, Entry, cut
from dobby_dagster.agent_server.reading import Reading
from dobby_dagster.domain.printable import printable

# Records that are read at once.
PAGE = 100
_WORD_BYTES = 60


def described(use: Reading, keys: Sequence[str], summary_bytes: int = SUMMARY_BYTES) -> dict[str, Entry]:
    """The records at ``keys`` as they are now, in this order; those whose row is gone are left out.

    Args:
        use: The open database.
        keys: Of records; others may be among them.
        summary_bytes: A longer summary is cut.
    """
    with use.store.connection.session():
        rows = use.store.reports.rows_at(use.source, use.recipe, keys)
        lacking = [row["key"] for row in rows if row["summary"] is None]
        former = use.store.reports.latest(use.relation, use.recipe, lacking) if lacking else {}
    return {row["key"]: _entry(row, former.get(row["key"]), summary_bytes) for row in rows}


def _entry(row: Mapping[str, Any], former: Mapping[str, Any] | None, summary_bytes: int) -> Entry:
    """One record, with the summary of its content, or with the newest one of another content."""
    said = former if row["summary"] is None and former is not None else row
    line = row["metadata"].get("line")
    return Entry(
        key=printable(row["key"]),
        kind=cut(row["content_type"], _WORD_BYTES),
        language=cut(row["language"], _WORD_BYTES),
        line=line if isinstance(line, int) and not isinstance(line, bool) else None,
        state=row["state"],
        reason=cut(row["error"] or row["reason"], NOTE_BYTES),
        summary=None if said["summary"] is None else cut(" ".join(said["summary"].split()), summary_bytes),
        confidence=said["confidence"],
        current=said is row and row["summary"] is not None,
    )


def without_record(key: str, kind: str, state: str | None = None) -> Entry:
    """The entry of a place that no record has, or of a record that is deleted."""
    return Entry(
        key=printable(key), kind=kind, language="", line=None, state=state, reason="", summary=None, confidence=None,
        current=False,
    )  # fmt: skip
