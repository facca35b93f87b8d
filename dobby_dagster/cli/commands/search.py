"""``dobby search``: the records that fit a text."""

from __future__ import annotations

from dataclasses import asdict
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import note, out, print_json
from dobby_dagster.cli.progress_bars import progress
from dobby_dagster.cli.record_lookup import typed
from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.errors import SettingsError, SourceError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import printable

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened
    from dobby_dagster.domain.scope import RecipeId
    from dobby_dagster.search.search_records import Hit, SearchResult


@options.takes("database", "relation")
def search(
    given: options.Given,
    words: Annotated[list[str] | None, typer.Argument(help="Words, identifiers or a sentence.", metavar="TEXT")] = None,
    prefix: Annotated[str, typer.Option(help="Only keys that begin so, as src/parser.py.")] = "",
    language: options.Language = None,
    kind: options.Kind = None,
    below: options.Below = None,
    unsure: options.Unsure = False,
    stale: options.Stale = False,
    recipe: options.Recipe = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000, help="Records on a page.")] = 10,
    page: Annotated[int, typer.Option(min=1, max=1_000, help="Which page.")] = 1,
    update: Annotated[bool, typer.Option("--update", help="Index every summary that is not indexed.")] = False,
    as_json: options.Json = False,
) -> None:
    """Find records by what they do or what they are called, the best first.

    Example: dobby search split a url into parts
    """
    from dobby_dagster.pipeline.reporting.record_list import RecordFilter, require_known
    from dobby_dagster.search.search_records import search as search_records

    text = " ".join(map(typed, words or []))
    if update and text:
        raise SettingsError(f"--update takes no text, and '{text}' is one", hint="update first, then search")
    if not text and not update:
        raise SettingsError("what to search for is missing", hint="name what the code does, or an identifier")
    use = opened(given)
    if update:
        _update(use, recipe, as_json)
        return
    below = options.highest_confidence(below, use.settings.pipeline.unsure_below if unsure else None)
    wanted = RecordFilter(typed(prefix), None, language and language.lower(), kind, below, stale)
    chosen = use.recipe(recipe)
    if chosen is None:
        raise SourceError(f"no record of '{use.relation}' has been summarised yet", hint="run dobby summarize")
    require_known(use.source, wanted)
    result = search_records(use.store, use.source, chosen, text, wanted, limit, page, settings=use.settings.search)
    if as_json:
        hits = [asdict(hit) for hit in result.hits]
        print_json(
            {
                "hits": hits,
                "page": page,
                "more": result.more,
                "index_behind": result.index_behind,
                "problems": result.problems,
            }
        )
    else:
        _show(use, result, page)


def _update(use: Opened, named: str | None, as_json: bool) -> None:
    from dobby_dagster.search.search_index import update_all

    recipe = use.recipe(named)
    records = use.store.reports.status(use.relation, recipe)["records"] if recipe else 0
    with progress("Indexing", records) as advance:
        added = update_all(use.store, use.source, recipe, advance) if recipe else 0
    vectors = _make_vectors(use, recipe) if recipe else 0
    if as_json:
        print_json({"indexed": added, "vectors": vectors})
    elif added or vectors:
        out.print(f"Added to the index: the words of {counted(added, 'summary')}, {counted(vectors, 'vector')}.")
    else:
        out.print("The index is up to date.")


def _make_vectors(use: Opened, recipe: RecipeId) -> int:
    from dobby_dagster.inference.embedding.embedder_choice import embedder_for
    from dobby_dagster.search.vector_index import batches_behind, index_batch

    embedder = embedder_for(use.settings.search)
    if embedder is None:
        return 0
    made, behind = 0, batches_behind(use.store, use.source, recipe, embedder)
    with progress("Making vectors", sum(behind.values())) as advance:
        for batch, summaries in behind.items():
            made += index_batch(use.store, use.source, recipe, batch, embedder)
            advance(summaries)
    return made


def _show(use: Opened, result: SearchResult, page: int) -> None:
    from dobby_dagster.pipeline.reporting.waiting_records import count_waiting

    for hit in result.hits:
        _show_hit(hit)
    if not result.hits:
        out.print("Nothing was found." if page == 1 else f"There is no page {page}.")
    if result.more:
        note(f"There is more: --page {page + 1}")
    if result.hits and not any("text" in hit.ways for hit in result.hits):
        note("None of these has the words; they are the nearest by meaning.")
    waiting = count_waiting(use.store, use.source)
    if waiting:
        note(f"{counted(waiting, 'record')} new or changed since the last run: {use.command('summarize')}")
    for problem in result.problems:
        note(f"There is {problem}")
    if result.index_behind:
        note(f"The index is behind: {'; '.join(result.index_behind)}. Index them: {use.command('search --update')}")


def _show_hit(hit: Hit) -> None:
    """Key and line, then the summary, then what is known of it; the lines of a key are not folded."""
    line = Text(printable(hit.key), style="bold")
    line.append("" if hit.line is None else f"  line {hit.line}", style="not bold dim")
    about = [f"confidence {shown_confidence(hit.confidence)}", f"found by {' and '.join(hit.ways)}"]
    out.print(line, soft_wrap=True)
    out.print(
        fill(printable(hit.summary or ""), out.width, initial_indent="  ", subsequent_indent="  "), soft_wrap=True
    )
    out.print(Text("  " + ", ".join([*["changed since"] * hit.stale, *about]), style="dim"), soft_wrap=True)
