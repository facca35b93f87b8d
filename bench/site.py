"""``python -m bench site``: a site of 20,000 records, written first, again, and after one edit."""

from __future__ import annotations

import resource
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import Any

from bench.ledger_fill import put_rows
from bench.workload import EXCLUDED
from dobby_dagster.domain.records import content_hash
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.ingest.file_splitting import split
from dobby_dagster.ingest.regular_files import NotReadError
from dobby_dagster.ingest.source_files import files_of, text_of
from dobby_dagster.site.site_build import SiteOptions, write_site
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger import relations

RECORDS = 20_000
RECIPE = "bench"


def run(records: int = RECORDS) -> list[dict[str, object]]:
    """Write the site three times; one row each."""
    with tempfile.TemporaryDirectory() as place:
        store = CozoStore.open(DatabaseSettings(url=f"sqlite:///{place}/records.db"))
        rows = list(islice(_records(), records))
        _put(store, rows)
        site = Path(place, "site")
        found = [_measured("first", store, site), _measured("again", store, site)]
        _put(store, [_row(rows[0]["key"], rows[0]["content"] + "# edited\n", rows[0]["metadata"])])
        return [*found, _measured("after one edit", store, site)]


def _measured(what: str, store: CozoStore, site: Path) -> dict[str, object]:
    began = time.perf_counter()
    result = write_site(store, store.source(SourceSettings()), SiteOptions(recipe=RECIPE), site)  # type: ignore[arg-type]
    seconds = time.perf_counter() - began
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    search = sum(path.stat().st_size for path in (site / "assets/search").iterdir())
    return {
        "written": what, "records": result.records, "seconds": seconds, "files": result.written,
        "unchanged": result.unchanged, "site MB": size / 1e6, "search data MB": search / 1e6,
        "peak memory MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3),
    }  # fmt: skip


def _records() -> Iterator[dict[str, Any]]:
    """Pieces of the standard library with a made-up summary each; from a second copy of the tree on where it is too small."""
    root = Path(sysconfig.get_path("stdlib"))
    for copy in count(1):
        for path in files_of(root, EXCLUDED):
            with suppress(NotReadError):
                place = f"stdlib{copy}/{path.relative_to(root)}"
                for piece in split(path, text_of(path)):
                    metadata = {"path": place, "line": piece.line, "name": piece.name}
                    yield _row(f"{place}::{piece.name}" if piece.name else place, piece.content, metadata)


def _row(key: str, content: str, metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": "record", "key": key, "content": content, "content_hash": content_hash(content), "metadata": metadata,
        "content_type": "function", "language": "python", "recipe": RECIPE, "state": "completed", "retry": "no_retry",
        "fingerprint": key, "text": f"Return what {' '.join(content.split()[:9])} says.", "model": "bench",
        "confidence": len(content) % 100 / 100, "finish_reason": "stop", "prompt": "bench", "created_at": 1.0,
    }  # fmt: skip


def _put(store: CozoStore, rows: list[dict[str, Any]]) -> None:
    for relation in (relations.RECORD, relations.VERSION, relations.STATE, relations.SUMMARY):
        for begin in range(0, len(rows), 5_000):
            put_rows(store, relation, rows[begin : begin + 5_000])
