"""Records with their summaries as Parquet, page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from dobby_dagster.pipeline.reporting.export_columns import COLUMNS, extra_columns

_PAGE = 1_000


def write_parquet(entries: Iterator[dict[str, Any]], path: Path) -> int:
    """One row per entry; returns how many."""
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
    # Arrow's strings are UTF-8, which has no lone surrogates.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
