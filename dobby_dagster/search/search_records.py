"""Search: the records that fit a text, with their summaries, the best first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.printable import shortened
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.search_words import query_words
from dobby_dagster.domain.settings import SearchSettings
from dobby_dagster.pipeline.reporting.record_list import RecordFilter
from dobby_dagster.search.filtered_keys import filtered_keys
from dobby_dagster.search.rank_fusion import Fused, fused, weights_for
from dobby_dagster.search.retriever import Retriever
from dobby_dagster.search.retrievers import retrievers_for
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source

# Each retriever ranks at least so many records at first; where too few of them are wanted, many times more.
CANDIDATES = 200
MORE = 25
# Records that are read at once.
PAGE = 50


@dataclass(frozen=True, slots=True)
class Hit:
    """A record that was found.

    Attributes:
        key: Of the record.
        path: Its file, as in the key; None where the source does not say.
        line: Its first line in the file, from 1; None where the source does not say.
        name: Its name in the file; None where the source does not say.
        kind: The record's content type: function, class, section…
        language: In lower case; empty where it is not known.
        state: As in the ledger: pending, in_progress, completed, failed or skipped.
        summary: Of its content, or of a former one where it is :attr:`stale`; None where there is none.
        confidence: Of the summary; None where it is unknown.
        stale: Whether the record has changed since the summary.
        ways: How it was found: ``text``, ``vector``, or both.
        score: Sum of 1 / (60 + rank) over the ways, weighted; comparable within one result only.
    """

    key: str
    path: str | None
    line: int | None
    name: str | None
    kind: str
    language: str
    state: str
    summary: str | None
    confidence: float | None
    stale: bool
    ways: tuple[str, ...]
    score: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page of hits.

    Attributes:
        hits: The best first.
        more: Whether there is a page after this one.
        index_behind: What the indexes lack, one line each; empty where they are up to date.
        problems: Why a way to find records can't be used, one line each.
    """

    hits: list[Hit]
    more: bool
    index_behind: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def search(
    store: CozoStore,
    source: Source,
    recipe: RecipeId | None,
    text: str,
    wanted: RecordFilter | None = None,
    limit: int = 10,
    page: int = 1,
    retrievers: Sequence[Retriever] | None = None,
    settings: SearchSettings | None = None,
) -> SearchResult:
    """The records of ``source`` that fit ``text`` best, ``limit`` to a page.

    Only records that have a summary are found. The database is opened for each query, and closed in between.

    Args:
        store: Where states, summaries and indexes are.
        source: Where records are.
        recipe: Under which states and summaries are read.
        text: Words, identifiers or a sentence; operators have no meaning.
        wanted: Which records; by default all.
        limit: Hits on a page.
        page: Which page, from 1.
        retrievers: The ways to find records; by default all that there are.
        settings: Which embedding is used then; by default the built-in one.

    Raises:
        SettingsError: ``text`` has no word to search for.
    """
    if not query_words(text):
        raise SettingsError(
            f"there is no word to search for in '{shortened(text, 80)}'",
            hint="name what the code does, or an identifier",
        )
    if retrievers is None:
        retrievers = retrievers_for(store, source, recipe, settings)
    wanted = wanted or RecordFilter()
    needed = limit * page + 1
    candidates = max(needed, CANDIDATES)
    among: frozenset[str] | None = None
    for attempt in count():
        if attempt == 1:  # the filter leaves few: rows are read only of those that it may accept
            among = filtered_keys(store, source, recipe, wanted)
        rankings = {each.way: each.ranked(text, candidates, wanted.prefix) for each in retrievers}
        is_all = all(len(ranking) < candidates for ranking in rankings.values())
        ranking = [each for each in fused(rankings, weights_for(text)) if among is None or each.key in among]
        found = list(islice(_hits(store, source, recipe, ranking, wanted), needed))
        if len(found) == needed or is_all or (among is not None and not among):
            break
        candidates *= MORE
    behind = tuple(line for retriever in retrievers if (line := retriever.behind()))
    problems = tuple(line for retriever in retrievers if (line := retriever.problem()))
    return SearchResult(found[limit * (page - 1) : limit * page], len(found) == needed, behind, problems)


def _hits(
    store: CozoStore, source: Source, recipe: RecipeId | None, ranking: Sequence[Fused], wanted: RecordFilter
) -> Iterator[Hit]:
    ranked = (each for each in ranking if each.key.startswith(wanted.prefix))
    while part := {each.key: each for each in islice(ranked, PAGE)}:
        rows = [row for row in store.reports.rows_at(source, recipe, list(part)) if wanted.accepts(row)]
        lacking = [row["key"] for row in rows if row["summary"] is None]
        former = store.reports.latest(source.settings.relation, recipe, lacking) if lacking else {}
        for row in rows:
            stale = row["summary"] is None and row["key"] in former
            if stale or (row["summary"] is not None and not wanted.stale):
                yield _hit(part[row["key"]], row, former[row["key"]] if stale else None)


def _hit(found: Fused, row: Mapping[str, Any], former: Mapping[str, Any] | None) -> Hit:
    about = row["metadata"]
    return Hit(
        key=row["key"],
        path=_as(str, about.get("path")),
        line=_as(int, about.get("line")),
        name=_as(str, about.get("name")),
        kind=row["content_type"],
        language=row["language"],
        state=row["state"],
        summary=former["summary"] if former else row["summary"],
        confidence=(former or row)["confidence"],
        stale=former is not None,
        ways=found.ways,
        score=found.score,
    )


def _as(kind: type[Any], value: Any) -> Any:
    """``value`` if it is of that type; a source may have anything there."""
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
