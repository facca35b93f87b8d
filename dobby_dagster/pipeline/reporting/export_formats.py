"""Records with their summaries as Markdown, JSON lines, CSV or Parquet, row by row."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, cast

from dobby_dagster import __version__
from dobby_dagster.domain.atomic_file import replacing
from dobby_dagster.domain.errors import SettingsError, StoreAccessError
from dobby_dagster.domain.filesystem import require_writable
from dobby_dagster.domain.markdown import block, code, prose
from dobby_dagster.domain.printable import printable, printable_json
from dobby_dagster.domain.records import readable_text
from dobby_dagster.domain.suggest import suggestion

COLUMNS = (
    "key", "state", "summary", "confidence", "model", "prompt", "fingerprint", "truncated", "finish_reason",
    "prompt_tokens", "output_tokens", "mean_logprob", "min_logprob", "created_at", "error", "reason", "batch",
    "path", "language", "content_type", "priority", "size", "metadata", "dobby_version",
)  # fmt: skip
CONTENT = "content"
_PAGE = 1_000
# What a spreadsheet takes for a formula, wide forms and leading white space included.
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def described(rows: Iterable[Mapping[str, Any]], *, content: bool = False) -> Iterator[dict[str, Any]]:
    """Rows of :meth:`~dobby_dagster.store.ledger.reports.Reports.rows` as they are exported: ``COLUMNS``, in order.

    Args:
        rows: Of the source, with states and summaries.
        content: Add the column ``content``, as text; bytes that are none are left out.
    """
    for row in rows:
        metadata = row.get("metadata") or {}
        entry = {name: row.get(name) for name in COLUMNS}
        entry |= {"path": metadata.get("path"), "metadata": metadata, "dobby_version": __version__}
        yield entry | ({CONTENT: readable_text(row.get(CONTENT))} if content else {})


def write_markdown(entries: Iterable[dict[str, Any]], stream: IO[str]) -> int:
    """One heading a record, its key as code; returns how many."""
    count = 0
    stream.write("# Summaries\n")
    for entry in entries:
        count += 1
        stream.write(f"\n## {code(entry['key'])}\n\n")
        if entry["summary"] is not None:
            stream.write(
                f"{prose(entry['summary'])}\n\n*confidence {shown_confidence(entry)}, {prose(entry['model'] or '')}*\n"
            )
        else:
            why = entry.get("reason") or entry.get("error") or ""
            stream.write(f"*{entry['state']}{': ' + prose(why) if why else ''}*\n")
        if entry.get(CONTENT):
            stream.write(f"\n{block(entry[CONTENT], entry.get('language') or '')}\n")
    return count


def write_jsonl(entries: Iterable[dict[str, Any]], stream: IO[str]) -> int:
    """One JSON object a line; returns how many."""
    count = 0
    for entry in entries:
        count += 1
        stream.write(printable_json({name: entry.get(name) for name in (*COLUMNS, *extra_columns(entry))}) + "\n")
    return count


def write_csv(entries: Iterable[dict[str, Any]], stream: IO[str]) -> int:
    """A header, then one row a record; returns how many. No field is a formula for a spreadsheet."""
    rows = iter(entries)
    first = next(rows, None)
    writer = csv.writer(_Lines(stream))
    names = (*COLUMNS, *extra_columns(first or {}))
    writer.writerow(names)
    count = 0
    for entry in () if first is None else chain([first], rows):
        count += 1
        writer.writerow([csv_field(entry.get(name)) for name in names])
    return count


def extra_columns(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of ``entry`` that not every export has."""
    return (CONTENT,) if CONTENT in entry else ()


TEXT_FORMATS: dict[str, Callable[[Iterable[dict[str, Any]], IO[str]], int]] = {
    "markdown": write_markdown,
    "jsonl": write_jsonl,
    "csv": write_csv,
}
FORMATS = (*TEXT_FORMATS, "parquet")
_BY_ENDING = {".md": "markdown", ".markdown": "markdown", ".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def check_output(path: Path, format_name: str | None = None, *, force: bool = False) -> str:
    """The format for ``path``: the one that is named, else by its ending.

    Args:
        path: The file.
        format_name: One of ``FORMATS``.
        force: Let a file that is there be replaced.

    Raises:
        SettingsError: The format or the ending is none of those known.
        StoreAccessError: The folder is not there or can't be written, the path is no regular file, or it exists.
    """
    if format_name is not None and format_name not in FORMATS:
        raise SettingsError(f"there is no format '{format_name}'", hint=suggestion(format_name, FORMATS))
    chosen = format_name or _BY_ENDING.get(path.suffix.lower())
    if chosen is None:
        raise SettingsError(
            f"can't infer the format from the extension of '{path}'",
            hint=f"{suggestion(path.suffix, _BY_ENDING)}, or name it with --format",
        )
    require_writable(path)
    if path.exists() and not force:
        raise StoreAccessError(f"'{path}' exists already", hint="--force replaces it")
    return chosen


def export_file(
    entries: Iterable[dict[str, Any]], path: Path, format_name: str | None = None, *, force: bool = False
) -> int:
    """Write all ``entries`` to ``path``, whole or not at all; returns how many.

    Raises:
        StoreAccessError: The file can't be written, or exists and ``force`` is not given.
    """
    chosen = check_output(path, format_name, force=force)
    with replacing(path, overwrite=force) as draft:
        if chosen == "parquet":
            return _write_parquet(iter(entries), draft)
        with draft.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            return TEXT_FORMATS[chosen](entries, stream)


def export_text(entries: Iterable[dict[str, Any]], stream: IO[str], format_name: str) -> int:
    """Write ``entries`` as ``format_name`` to a stream that a terminal may show: every character can be seen."""
    return TEXT_FORMATS[format_name](entries, cast("IO[str]", _Seen(stream)))


@dataclass(frozen=True)
class _Lines:
    """Lines end as on Unix. The writer itself believes in both characters of a line end, and so quotes both."""

    stream: IO[str]

    def write(self, row: str) -> int:
        return self.stream.write(row.removesuffix("\r\n") + "\n")


@dataclass(frozen=True)
class _Seen:
    stream: IO[str]

    def write(self, text: str) -> int:
        return self.stream.write(printable(text, lines=True))


def _write_parquet(entries: Iterator[dict[str, Any]], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = next(entries, None)
    names = (*COLUMNS, *extra_columns(first or {}))
    kinds = dict.fromkeys(("confidence", "mean_logprob", "min_logprob", "created_at"), pa.float64())
    kinds |= dict.fromkeys(("prompt_tokens", "output_tokens", "priority", "size"), pa.int64()) | {
        "truncated": pa.bool_()
    }
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in names])
    rows = iter(()) if first is None else chain([first], entries)
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        while page := list(islice(rows, _PAGE)):
            table = [{n: _parquet_field(e.get(n)) for n in names} for e in page]
            writer.write_table(pa.Table.from_pylist(table, schema=schema))
            count += len(page)
    return count


def _parquet_field(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    # Arrow's text is UTF-8, which has no lone surrogates.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def shown_confidence(entry: Mapping[str, Any]) -> str:
    """The confidence of ``entry`` with two decimals.

    >>> shown_confidence({"confidence": 0.987}), shown_confidence({"confidence": None})
    ('0.99', 'unknown')
    """
    confidence = entry["confidence"]
    return "unknown" if confidence is None else f"{confidence:.2f}"


def csv_field(value: Any) -> Any:
    r"""``value`` as a spreadsheet may open it: a text is never a formula, and every character of it can be seen.

    >>> csv_field("=HYPERLINK(1)"), csv_field(-0.5), csv_field("a\x1b[2J"), csv_field(None), csv_field({"a": 1})
    ("'=HYPERLINK(1)", -0.5, 'a\\x1b[2J', '', '{"a": 1}')
    """
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True) if value else ""
    if not isinstance(value, str):
        return "" if value is None else value
    text = printable(value, lines=True)
    return f"'{text}" if _FORMULA.match(value) else text
