"""Summaries that need review: unsure ones, cut-off ones, and those of truncated contents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.records import RecordVersion
from dobby_dagster.domain.scope import BatchId, RecipeId
from dobby_dagster.domain.summaries import CUT_OFF
from dobby_dagster.store.cozo_store import CozoStore

# Shares of a batch's summaries above which the asset checks warn.
UNSURE_SHARE_LIMIT = 0.5
CUT_OFF_SHARE_LIMIT = 0.1


@dataclass(frozen=True, slots=True)
class DoubtfulCounts:
    """How many of some summaries need review.

    Attributes:
        summaries: All of them.
        unsure: Those whose confidence is known and below the threshold.
        unknown: Those whose confidence is unknown.
        cut_off: Those that reached the token limit, and so may end in the middle of a sentence.
        truncated: Those of contents that were too long, and lost their middle.
    """

    summaries: int = 0
    unsure: int = 0
    unknown: int = 0
    cut_off: int = 0
    truncated: int = 0

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], unsure_below: float) -> DoubtfulCounts:
        """Count ``rows`` with ``confidence``, ``finish_reason`` and ``truncated``."""
        summaries = unsure = unknown = cut_off = truncated = 0
        for row in rows:
            summaries += 1
            unsure += is_unsure(row["confidence"], unsure_below)
            unknown += row["confidence"] is None
            cut_off += row["finish_reason"] == CUT_OFF
            truncated += bool(row["truncated"])
        return cls(summaries, unsure, unknown, cut_off, truncated)

    def __add__(self, other: DoubtfulCounts) -> DoubtfulCounts:
        """The counts over both.

        >>> DoubtfulCounts(3, unsure=1) + DoubtfulCounts(2, unsure=2)
        DoubtfulCounts(summaries=5, unsure=3, unknown=0, cut_off=0, truncated=0)
        """
        return DoubtfulCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def metrics(self) -> dict[str, int]:
        """The counts by the names of their metrics."""
        return {
            "summaries_unsure": self.unsure,
            "confidence_unknown": self.unknown,
            "summaries_cut_off": self.cut_off,
            "contents_truncated": self.truncated,
        }


def is_unsure(confidence: float | None, unsure_below: float) -> bool:
    """Whether a confidence is known and below the threshold.

    >>> is_unsure(0.05, 0.1), is_unsure(0.1, 0.1), is_unsure(None, 0.1)
    (True, False, False)
    """
    return confidence is not None and confidence < unsure_below


def count_doubtful(store: CozoStore, relation: str, recipe: RecipeId, unsure_below: float) -> DoubtfulCounts:
    """Count over the current summaries of a source under ``recipe``."""
    return DoubtfulCounts.of(store.reports.outputs(relation, recipe), unsure_below)


def only_unsure(entries: Iterable[dict[str, Any]], unsure_below: float) -> Iterator[dict[str, Any]]:
    """The entries that have an unsure summary."""
    return (entry for entry in entries if entry.get("summary") and is_unsure(entry["confidence"], unsure_below))


def batch_to_redo(store: CozoStore, relation: str, recipe: RecipeId, unsure_below: float, new: RecipeId) -> BatchId:
    """Put the records that failed or are unsure under ``recipe`` into a new batch, for another model.

    Args:
        store: Where they are.
        relation: The source.
        recipe: Under which they failed, or their current summary is unsure.
        unsure_below: The confidence below which a summary is unsure.
        new: The recipe of the other model; records that it has summarised or failed at already are left out.

    Returns:
        The identifier of the batch.

    Raises:
        SourceError: There is no such record, or the other model has done all that there are.
    """
    chosen = {
        (row["key"], row["content_hash"])
        for row in store.reports.outputs(relation, recipe)
        if is_unsure(row["confidence"], unsure_below)
    } | _failed(store, relation, recipe)
    if not chosen:
        raise SourceError(
            f"no record of '{relation}' has failed or has a summary with a confidence below {unsure_below:g}",
            hint="see dobby status",
        )
    done = {(row["key"], row["content_hash"]) for row in store.reports.outputs(relation, new)}
    left = chosen - done - _failed(store, relation, new)
    if not left:
        raise SourceError(
            f"{counted(len(chosen), 'record')} failed or with a confidence below {unsure_below:g}: recipe {new} has a "
            "summary or an error of each already",
            hint=f"read them with dobby export --recipe {new}",
        )
    return store.versions.batch_of([RecordVersion(relation, *version) for version in sorted(left)]).id


def _failed(store: CozoStore, relation: str, recipe: RecipeId) -> set[tuple[str, str]]:
    return {(row["key"], row["content_hash"]) for row in store.states.failed(relation, recipe)}
