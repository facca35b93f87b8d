"""Records with their summaries as Markdown, JSON lines, CSV or Parquet, row by row."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.filesystem import replacing, require_writable
from dobby_dagster.domain.markdown import code, prose
from dobby_dagster.domain.printable import printable, printable_json
from dobby_dagster.domain.suggest import suggestion

COLUMNS = (
    "key", "state", "summary", "confidence", "model", "prompt", "fingerprint", "truncated", "finish_reason",
    "prompt_tokens", "output_tokens", "mean_logprob", "min_logprob", "created_at", "error", "reason", "batch",
)  # fmt: skip
_PAGE = 1_000
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


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
    return count


def write_jsonl(entries: Iterable[dict[str, Any]], stream: IO[str]) -> int:
    """One JSON object a line; returns how many."""
    count = 0
    for entry in entries:
        count += 1
        stream.write(printable_json({name: entry.get(name) for name in COLUMNS}) + "\n")
    return count


def write_csv(entries: Iterable[dict[str, Any]], stream: IO[str]) -> int:
    """A header, then one row a record; returns how many."""
    writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    count = 0
    for entry in entries:
        count += 1
        writer.writerow({name: csv_field(entry.get(name)) for name in COLUMNS})
    return count


TEXT_FORMATS: dict[str, Callable[[Iterable[dict[str, Any]], IO[str]], int]] = {
    "markdown": write_markdown,
    "jsonl": write_jsonl,
    "csv": write_csv,
}
FORMATS = (*TEXT_FORMATS, "parquet")
_BY_ENDING = {".md": "markdown", ".markdown": "markdown", ".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def check_output(path: Path, format_name: str | None = None) -> str:
    """The format for ``path``: the one that is named, else by its ending.

    Raises:
        SettingsError: The format or the ending is none of those known.
        StoreAccessError: The folder is not there or can't be written, or the path is no regular file.
    """
    if format_name is not None and format_name not in FORMATS:
        raise SettingsError(f"there is no format '{format_name}'", hint=suggestion(format_name, FORMATS))
    chosen = format_name or _BY_ENDING.get(path.suffix.lower())
    if chosen is None:
        raise SettingsError(f"'{path}' has no ending that names a format", hint=suggestion(path.suffix, _BY_ENDING))
    require_writable(path)
    return chosen


def export_file(entries: Iterable[dict[str, Any]], path: Path, format_name: str | None = None) -> int:
    """Write all ``entries`` to ``path``, whole or not at all; returns how many.

    Raises:
        StoreAccessError: The file can't be written.
    """
    chosen = check_output(path, format_name)
    with replacing(path) as draft:
        if chosen == "parquet":
            return _write_parquet(iter(entries), draft)
        with draft.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            return TEXT_FORMATS[chosen](entries, stream)


def _write_parquet(entries: Iterator[dict[str, Any]], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {"confidence", "mean_logprob", "min_logprob", "created_at"}
    kinds = {"truncated": pa.bool_(), "prompt_tokens": pa.int64(), "output_tokens": pa.int64()}
    schema = pa.schema([(n, pa.float64() if n in numbers else kinds.get(n, pa.string())) for n in COLUMNS])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        while page := list(islice(entries, _PAGE)):
            writer.write_table(pa.Table.from_pylist([{n: e.get(n) for n in COLUMNS} for e in page], schema=schema))
            count += len(page)
    return count


def shown_confidence(entry: Mapping[str, Any]) -> str:
    """The confidence of ``entry`` with two decimals.

    >>> shown_confidence({"confidence": 0.987}), shown_confidence({"confidence": None})
    ('0.99', 'unknown')
    """
    confidence = entry["confidence"]
    return "unknown" if confidence is None else f"{confidence:.2f}"


def csv_field(value: Any) -> Any:
    r"""``value`` as a spreadsheet may open it: a text is never a formula, and every character of it can be seen.

    >>> csv_field("=HYPERLINK(1)"), csv_field(-0.5), csv_field("a\x1b[2J"), csv_field(None)
    ("'=HYPERLINK(1)", -0.5, 'a\\x1b[2J', '')
    """
    if not isinstance(value, str):
        return "" if value is None else value
    text = printable(value, lines=True)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
