"""Bringing the full-text index up to date: documents for summaries that have none.

A commit stores a summary and its document together, so this is for databases of an earlier version, and for records and
recipes that returned to an earlier summary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dobby_dagster.domain.records import content_hash
from dobby_dagster.domain.scope import RecipeId, Scope
from dobby_dagster.domain.search_words import document_words
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source

# Records whose contents are read, and whose documents are stored, at once.
PAGE = 200


def update_batch(store: CozoStore, source: Source, scope: Scope) -> int:
    """Add the missing documents of the batch's records; return their number."""
    members = [member.version.key for member in store.states.members_from(source, scope)]
    return _update(store, source, scope.recipe, [members[at : at + PAGE] for at in range(0, len(members), PAGE)])


def update_all(
    store: CozoStore, source: Source, recipe: RecipeId, on_page: Callable[[int], None] = lambda records: None
) -> int:
    """Add the missing documents of all records of ``source``; return their number.

    Each page is one transaction, and the database is free in between: what is interrupted goes on when it is called
    again.

    Args:
        store: Where summaries are.
        source: Where records are.
        recipe: Under which summaries have documents afterwards.
        on_page: Called with the number of records of each page that is done.
    """
    return _update(store, source, recipe, store.documents.key_pages(source.settings.relation, PAGE), on_page)


def _update(
    store: CozoStore,
    source: Source,
    recipe: RecipeId,
    pages: Iterable[Sequence[str]],
    on_page: Callable[[int], None] = lambda records: None,
) -> int:
    relation, added = source.settings.relation, 0
    listed = store.documents.unindexed(relation) > 0
    for keys in pages:
        documents = []
        missing = store.documents.missing(relation, recipe, keys)
        if missing:
            records = source.get([key for key, _, _ in missing])
            for key, summarized, text in missing:
                record = records.get(key)
                # A content that was edited since is not the one that was summarised.
                content = record.content if record and content_hash(record.content) == summarized else None
                documents.append((key, summarized, document_words(key, text, content)))
            added += len(documents)
        if documents or listed:
            store.documents.put(relation, recipe, documents, done=keys)
        on_page(len(keys))
    return added
