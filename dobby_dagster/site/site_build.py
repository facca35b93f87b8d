"""Builds a site of the records of a source, and updates its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.settings import OWN_RELATION
from dobby_dagster.site.code_references import SHOWN_KINDS, References, code_references
from dobby_dagster.site.entry import Entry, entry_of
from dobby_dagster.site.page_views import PlacePage, Target
from dobby_dagster.site.place_pages import place_pages, targets_of
from dobby_dagster.site.record_tree import Node, record_tree
from dobby_dagster.site.rendering import Renderer, assets
from dobby_dagster.site.search_data import SHARDS, search_scripts
from dobby_dagster.site.site_folder import SiteFolder
from dobby_dagster.site.site_statistics import SiteStatistics, site_statistics
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source

_PAGE = 500


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """What a site shows.

    Attributes:
        title: Its title; where empty, the name of the one tree, else of the relation.
        prefix: What the keys of its records begin with.
        recipe: Under which states and summaries are read.
        unsure_below: Summaries with a lower confidence are unsure.
        content: Whether the contents are shown.
    """

    title: str = ""
    prefix: str = ""
    recipe: RecipeId | None = None
    unsure_below: float = 0.1
    content: bool = True


@dataclass(frozen=True, slots=True)
class SiteResult:
    """What was done: records shown, and files written, unchanged and removed."""

    records: int
    written: int
    unchanged: int
    removed: int


def read_entries(store: CozoStore, source: Source, options: SiteOptions) -> Iterator[Entry]:
    """The records whose keys begin with the prefix, with their summaries, in key order."""
    relation = source.settings.relation
    rows = store.reports.rows(source, options.recipe, _PAGE, options.prefix)
    for page in _pages(rows, _PAGE):
        lacking = [row["key"] for row in page if row["summary"] is None]
        former = store.reports.latest(relation, options.recipe, lacking) if lacking else {}
        for row in page:
            yield entry_of(row, former.get(row["key"]), options.unsure_below, with_content=options.content)


def write_site(
    store: CozoStore,
    source: Source,
    options: SiteOptions,
    output: Path,
    advance: Callable[[], object] = lambda: None,
) -> SiteResult:
    """Write the site to the folder ``output``, or update the one that is there.

    Args:
        store: Where states and summaries are.
        source: Where records are.
        options: What is shown.
        output: The folder.
        advance: Called for each record that is read.

    Raises:
        SourceError: There are no such records.
        SettingsError: The folder holds something else, or another process writes a site there.
        StoreAccessError: It can't be written.
    """
    with SiteFolder.held(output) as folder:
        entries = []
        for entry in read_entries(store, source, options):
            entries.append(entry)
            advance()
        if not entries:
            raise SourceError(f"no key of relation '{source.settings.relation}' begins with '{options.prefix}'")
        root = record_tree(entries)
        title = options.title or _name_of(root, source.settings.relation)
        targets = targets_of(root)
        references = _references(store, targets) if source.settings.relation == OWN_RELATION else {}
        pages: list[PlacePage | SiteStatistics] = [*place_pages(root, targets, references, title)]
        pages.append(site_statistics(entries, targets))
        scripts = search_scripts(entries, root, targets)
        _update(folder, Renderer(title, options.unsure_below), pages, assets() | scripts)
        return SiteResult(len(entries), folder.written, folder.unchanged, folder.removed)


def _update(
    folder: SiteFolder, renderer: Renderer, pages: list[PlacePage | SiteStatistics], files: dict[str, str]
) -> None:
    folder.begin([*(page.path for page in pages), *files])
    for page in pages:
        made_from = renderer.digest(page)
        if not folder.is_current(page.path, made_from):
            folder.write(page.path, renderer.page(page), made_from)
    # What names the shards is written when they are there.
    for name in sorted(files, key=lambda name: name == SHARDS):
        folder.write(name, files[name])
    folder.finish()


def _references(store: CozoStore, targets: Mapping[str, Target]) -> Mapping[str, References]:
    """What the records and places that have a page call and import."""
    return code_references(store.graph.edges_from(targets.keys(), SHOWN_KINDS))


def _name_of(root: Node, relation: str) -> str:
    """The name of what all records are in, else that of the relation."""
    return "/".join(root.segments) or relation


def _pages(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    while page := list(islice(rows, size)):
        yield page
