"""Records with their summaries as Markdown, JSON lines, CSV or Parquet, row by row."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

from dobby_dagster.domain.atomic_file import replacing, require_new
from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.markdown import block, code, prose
from dobby_dagster.domain.printable import printable, printable_json
from dobby_dagster.domain.suggest import suggestion
from dobby_dagster.pipeline.reporting.export_columns import COLUMNS, CONTENT, extra_columns
from dobby_dagster.pipeline.reporting.parquet_export import write_parquet

# Text that a spreadsheet evaluates as a formula, full-width forms and leading white space included.
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def write_markdown(entries: Iterable[dict[str, Any]], stream: IO[str]) -> int:
    """One heading per record, its key as code; returns the number of records."""
    count = 0
    stream.write("# Summaries\n")
    for entry in entries:
        count += 1
        stream.write(f"\n## {code(entry['key'])}\n\n")
        if entry["summary"] is not None:
            stream.write(
                f"{prose(entry['summary'])}\n\n*confidence {shown_confidence(entry['confidence'])},"
                f" {prose(entry['model'] or '')}*\n"
            )
        else:
            why = entry.get("reason") or entry.get("error") or ""
            stream.write(f"*{entry['state']}{': ' + prose(why) if why else ''}*\n")
        if entry.get(CONTENT):
            stream.write(f"\n{block(entry[CONTENT], entry.get('language') or '')}\n")
    return count


def write_jsonl(entries: Iterable[dict[str, Any]], stream: IO[str]) -> int:
    """One JSON object per line; returns the number of records."""
    count = 0
    for entry in entries:
        count += 1
        stream.write(printable_json({name: entry.get(name) for name in (*COLUMNS, *extra_columns(entry))}) + "\n")
    return count


def write_csv(entries: Iterable[dict[str, Any]], stream: IO[str]) -> int:
    """A header, then one row per record; returns the number of records. No field is evaluated as a formula."""
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


TEXT_FORMATS: dict[str, Callable[[Iterable[dict[str, Any]], IO[str]], int]] = {
    "markdown": write_markdown,
    "jsonl": write_jsonl,
    "csv": write_csv,
}
FORMATS = (*TEXT_FORMATS, "parquet")
_BY_ENDING = {".md": "markdown", ".markdown": "markdown", ".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def check_output(path: Path, format_name: str | None = None, *, force: bool = False) -> str:
    """The format for ``path``: ``format_name``, or else inferred from the extension.

    Args:
        path: The file.
        format_name: One of ``FORMATS``.
        force: Allow an existing file to be replaced.

    Raises:
        SettingsError: The format or the extension is unknown.
        StoreAccessError: The folder is missing or not writable, or the path exists or is no regular file.
    """
    if format_name is not None and format_name not in FORMATS:
        raise SettingsError(f"there is no format '{format_name}'", hint=suggestion(format_name, FORMATS))
    chosen = format_name or _BY_ENDING.get(path.suffix.lower())
    if chosen is None:
        raise SettingsError(
            f"can't infer the format from the extension of '{path}'",
            hint=f"{suggestion(path.suffix, _BY_ENDING)}, or name it with --format",
        )
    require_new(path, force=force)
    return chosen


def export_file(
    entries: Iterable[dict[str, Any]], path: Path, format_name: str | None = None, *, force: bool = False
) -> int:
    """Write all ``entries`` to ``path`` atomically; returns the number of records.

    Raises:
        StoreAccessError: The file can't be written, or exists and ``force`` is not given.
    """
    chosen = check_output(path, format_name, force=force)
    with replacing(path, overwrite=force) as draft:
        if chosen == "parquet":
            return write_parquet(iter(entries), draft)
        with draft.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            return TEXT_FORMATS[chosen](entries, stream)


def export_text(entries: Iterable[dict[str, Any]], stream: IO[str], format_name: str) -> int:
    """Write ``entries`` as ``format_name`` to a stream that may be a terminal: control characters are escaped."""
    return TEXT_FORMATS[format_name](entries, cast("IO[str]", _Escaped(stream)))


@dataclass(frozen=True)
class _Lines:
    """Ends lines as on Unix, while the CSV writer quotes both characters of a line end."""

    stream: IO[str]

    def write(self, row: str) -> int:
        return self.stream.write(row.removesuffix("\r\n") + "\n")


@dataclass(frozen=True)
class _Escaped:
    stream: IO[str]

    def write(self, text: str) -> int:
        return self.stream.write(printable(text, lines=True))


def csv_field(value: Any) -> Any:
    r"""``value`` for a spreadsheet: text is never a formula, and its control characters are escaped.

    >>> csv_field("=HYPERLINK(1)"), csv_field(-0.5), csv_field("a\x1b[2J"), csv_field(None), csv_field({"a": 1})
    ("'=HYPERLINK(1)", -0.5, 'a\\x1b[2J', '', '{"a": 1}')
    """
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True) if value else ""
    if not isinstance(value, str):
        return "" if value is None else value
    text = printable(value, lines=True)
    return f"'{text}" if _FORMULA.match(value) else text
