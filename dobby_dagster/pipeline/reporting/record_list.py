"""Records with their states and summaries, filtered, sorted and paged."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from typing import Any

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.suggest import suggestion
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source

Row = Mapping[str, Any]
PAGE = 500
# A misspelt beginning of keys is compared with those of at most this many.
NEAR_KEYS = 20_000


class Order(StrEnum):
    """How records are sorted: by key, the least confident summary first, or the newest summary first."""

    KEY = "key"
    CONFIDENCE = "confidence"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records are wanted; None and False leave a condition out.

    Attributes:
        prefix: What the key begins with.
        state: As in the ledger: pending, in_progress, completed, failed or skipped.
        language: Of the record, in lower case.
        kind: The record's content type: function, class, section…
        below: Summaries with a known confidence under this.
        stale: Records whose content has changed since their summary.
    """

    prefix: str = ""
    state: str | None = None
    language: str | None = None
    kind: str | None = None
    below: float | None = None
    stale: bool = False

    def accepts(self, row: Row) -> bool:
        """Whether a row of :meth:`~dobby_dagster.store.ledger.reports.Reports.rows` fulfils all but :attr:`stale`."""
        confidence = row["confidence"]
        return (
            self.state in (None, row["state"])
            and self.language in (None, row["language"])
            and self.kind in (None, row["content_type"])
            and (self.below is None or (confidence is not None and confidence < self.below))
        )


def require_known(source: Source, wanted: RecordFilter) -> None:
    """Refuse a prefix with which no key begins, and a language or kind that no record has; of no records at all none.

    Raises:
        SourceError: The message names it, the hint a similar one.
    """
    if next(iter(source.key_pages(1)), None) is None:
        return
    if wanted.prefix and next(iter(source.key_pages(1, wanted.prefix)), None) is None:
        trees = {key.split("/")[0] for key in islice(chain.from_iterable(source.key_pages(PAGE)), NEAR_KEYS)}
        near = suggestion(wanted.prefix.removeprefix("./").split("/")[0], trees, "dobby list shows keys")
        raise SourceError(f"no key begins with '{wanted.prefix}'", hint=near)
    for name, column, value in (("language", "language", wanted.language), ("kind", "content_type", wanted.kind)):
        if value is not None and value not in (known := source.distinct(column)):
            raise SourceError(f"there is no record of {name} '{value}'", hint=suggestion(value, filter(None, known)))


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of records.

    Attributes:
        rows: Key, state, summary, confidence and the other columns of an export, without the content; and
            ``former_summary``, of an earlier content, where there is no summary of the present one.
        more: Whether there is a page after this one.
    """

    rows: list[Row]
    more: bool


def list_records(
    store: CozoStore,
    source: Source,
    recipe: RecipeId | None,
    wanted: RecordFilter,
    order: Order = Order.KEY,
    limit: int = 20,
    page: int = 1,
) -> Listing:
    """The records that ``wanted`` accepts, ``limit`` to a page.

    In key order only the rows up to the end of the page are read; any other order reads all rows with the prefix, and
    keeps those of the pages so far.

    Args:
        store: Where states and summaries are.
        source: Where records are.
        recipe: Under which states and summaries are read.
        wanted: Which records.
        order: How they are sorted; records without a summary come last by confidence and by age.
        limit: Rows on a page.
        page: Which page, from 1.
    """
    found = _matching(store, source, recipe, wanted)
    needed = limit * page + 1
    rows = list(islice(found, needed)) if order is Order.KEY else heapq.nsmallest(needed, found, key=_KEYS[order])
    shown = rows[limit * (page - 1) : limit * page]
    lacking = [row["key"] for row in shown if row["summary"] is None]
    former = store.reports.latest(source.settings.relation, recipe, lacking) if lacking else {}
    told: list[Row] = [{**row, "former_summary": former.get(row["key"], {}).get("summary")} for row in shown]
    return Listing(told, len(rows) == needed)


def _matching(store: CozoStore, source: Source, recipe: RecipeId | None, wanted: RecordFilter) -> Iterator[Row]:
    rows = filter(wanted.accepts, store.reports.rows(source, recipe, prefix=wanted.prefix))
    without_content = ({name: value for name, value in row.items() if name != "content"} for row in rows)
    return _stale(store, source, recipe, without_content) if wanted.stale else without_content


def _stale(store: CozoStore, source: Source, recipe: RecipeId | None, rows: Iterator[Row]) -> Iterator[Row]:
    """Those of ``rows`` that have a summary of a former content only; one query for each page of them."""
    lacking = (row for row in rows if row["summary"] is None)
    while page := list(islice(lacking, PAGE)):
        summarized = store.reports.summarized(source.settings.relation, recipe, [row["key"] for row in page])
        yield from (row for row in page if row["key"] in summarized)


_KEYS: dict[Order, Callable[[Row], Any]] = {
    Order.CONFIDENCE: lambda row: (row["confidence"] is None, row["confidence"] or 0.0, row["key"]),
    Order.NEWEST: lambda row: (row["created_at"] is None, -(row["created_at"] or 0.0), row["key"]),
}
