"""``python -m bench scale``: the part of the command line.

Without options it takes two to three minutes on two cores. Each part can be run alone, and larger:

    python -m bench scale doublings --records 512000
    python -m bench scale workers --workers 1 2 4 8 16 --rates 0 5 20 100 --databases sqlite server
    python -m bench scale partitions --partitions 100000 --members 10
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.scale.dagster_history import PARTITIONS_PER_RUN
from bench.scale.doublings import doublings
from bench.scale.partitions import REAL_BATCHES, beside_partitions
from bench.scale.workers import over_workers
from bench.tables import show

PARTS = ("doublings", "workers", "partitions")


def main(arguments: Sequence[str]) -> int:
    """Run the parts that are named, all where none is."""
    parser = argparse.ArgumentParser(
        "python -m bench scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; by default all")
    parser.add_argument("--records", type=_whole(1_000), default=8_000, help="doublings up to this many")
    parser.add_argument("--batch-size", type=_whole(1), default=500, help="records of a batch, of the doublings")
    parser.add_argument("--workers", type=_whole(1), nargs="+", default=[1, 2, 4], help="numbers of worker processes")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[0.0, 20.0], help="records/s of each engine; 0: at once"
    )
    parser.add_argument(
        "--databases", nargs="+", default=["sqlite", "server"], metavar="DATABASE",
        help="sqlite, rocksdb, server (the tests' own), or the URL of an empty Cozo server",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement of the workers")
    parser.add_argument(
        "--partitions", type=_whole(REAL_BATCHES + PARTITIONS_PER_RUN), default=1_000, help="partitions in Dagster"
    )
    parser.add_argument("--members", type=_whole(1), default=10, help="records of each partition")
    parser.add_argument("--folder", type=Path, help="where the databases are made; by default the temporary folder")
    chosen = parser.parse_args(arguments)
    for part in chosen.parts:
        if part not in PARTS:
            parser.error(f"{part} is no part: name one of {', '.join(PARTS)}")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory(dir=chosen.folder) as place:
        folder = Path(place)
        for part in chosen.parts or PARTS:
            _PARTS[part](chosen, folder)
    return 0


def _doublings(chosen: argparse.Namespace, folder: Path) -> None:
    kind = chosen.databases[0]
    rows = _noted(doublings(kind, chosen.records, chosen.batch_size, folder))
    show(f"Doublings, {kind}", rows)


def _workers(chosen: argparse.Namespace, folder: Path) -> None:
    for kind in chosen.databases:
        rows = _noted(over_workers(kind, chosen.workers, chosen.rates, folder, chosen.seconds))
        show(f"Workers on one database, {kind}", rows)


def _partitions(chosen: argparse.Namespace, folder: Path) -> None:
    for title, rows in beside_partitions(chosen.partitions, chosen.members, folder):
        show(title, rows)


_PARTS = {"doublings": _doublings, "workers": _workers, "partitions": _partitions}


def _noted(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows; each is told on standard error as it comes."""
    found = []
    for row in rows:
        print(" ".join(f"{name}={value}" for name, value in list(row.items())[:4]), file=sys.stderr, flush=True)
        found.append(row)
    return found


def _whole(least: int) -> Any:
    def whole(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is too small: at least {least:,}")
        return number

    return whole
