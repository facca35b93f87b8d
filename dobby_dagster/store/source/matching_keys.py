"""Keys of the rows that have a text in a column: found by reading that column, without the contents."""

from __future__ import annotations

from collections.abc import Callable

from dobby_dagster.domain.records import Record
from dobby_dagster.store.cozoscript.value_text import tag_of, text_of, text_only
from dobby_dagster.store.source.source_relation import Source

_PAGE = 5_000


def matching_keys(source: Source, column: str, accepts: Callable[[str], bool]) -> set[str]:
    """Dobby's keys of the rows whose text in ``column`` is accepted.

    Args:
        source: The relation.
        column: Dobby's name of a column of texts: ``language`` or ``content_type``.
        accepts: Called for each text that is there; for that of a record without one where a row has none.
    """
    unset = str(getattr(Record("", None, ""), column))
    if column not in source.columns:
        return {key for page in source.key_pages(_PAGE) for key in page} if accepts(unset) else set()
    row = f"{source.atom(key='k', **{column: 'value'})}, plain = {text_only('value')}"
    there = source.connection.run(f"?[plain] := {row}").rows
    texts = [text for (text,) in there if accepts(text or unset)]
    query = f"?[k, tag, text] := {row}, plain in $texts, tag = {tag_of('k')}, text = {text_of('k')}"
    return set(source.keys_in(source.connection.run(query, {"texts": texts}).rows))
