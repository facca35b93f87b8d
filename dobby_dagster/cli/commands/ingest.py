"""``dobby ingest``: fill Dobby's own relation from source trees and text files."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import require_lasting
from dobby_dagster.cli.output import note, out, print_json
from dobby_dagster.cli.progress_bars import progress
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import printable
from dobby_dagster.domain.settings import OWN_RELATION

if TYPE_CHECKING:
    from dobby_dagster.ingest.deletion import Deletion
    from dobby_dagster.ingest.moved_tree import Move

# Lines about the files that were left out, at most.
LINES = 6


@options.takes("database")
def ingest(
    given: options.Given,
    paths: Annotated[list[Path], typer.Argument(help="Source trees or text files.", metavar="PATH")],
    limit: Annotated[
        int | None, typer.Option(min=1, help="Keep at most this many records of each path (a stable sample).")
    ] = None,
    name: Annotated[str | None, typer.Option(help="First part of every key; by default the path's own name.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Leave out files that match this glob.")] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Don't ask before records are deleted, or taken over from another place."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Fill Dobby's relation 'record' from source trees and text files: a record per function, class or section."""
    from dobby_dagster.ingest.ingestion import ingest as run
    from dobby_dagster.ingest.source_files import files_of
    from dobby_dagster.store.cozo_store import CozoStore

    def permits(doubtful: Deletion | Move) -> bool:
        return yes or (sys.stdin.isatty() and typer.confirm(printable(doubtful.question), err=True))

    settings = given.load().settings
    require_lasting(settings.database)
    store = CozoStore.open(settings.database)
    began = time.perf_counter()
    total = sum(1 for path in paths for _ in files_of(path, exclude or []))
    with progress("Reading", total) as advance:
        done = run(
            store, paths, limit=limit, name=name, exclude=exclude or [], on_file=lambda path: advance(),
            permits=permits,
        )  # fmt: skip
    store.remember_relation(OWN_RELATION)
    seconds = time.perf_counter() - began
    if as_json:
        print_json(
            {"files": done.files, "found": done.found, "written": done.written, "unchanged": done.unchanged,
             "deleted": done.deleted, "left_out": done.left_out, "edges": asdict(done.edges), "moved": done.moved,
             "seconds": seconds}
        )  # fmt: skip
        return
    out.print(
        f"{counted(done.files, 'file')} hold{'s' * (done.files == 1)} {counted(done.found, 'record')}: "
        f"{done.written:,} written, {done.unchanged:,} unchanged, {done.deleted:,} deleted, in {seconds:.1f} s."
    )
    edges = counted(done.edges.added + done.edges.kept, "edge")
    out.print(f"The code graph has {edges}: {done.edges.added:,} added, {done.edges.removed:,} removed.")
    for place, formers in done.moved.items():
        for former in formers:
            note(printable(f"the records of '{former}', which was moved, are now those of '{place}'"))
    for line in _left_out(done.left_out, paths):
        note(line)


def _left_out(left_out: Mapping[str, str], roots: list[Path]) -> Iterator[str]:
    """A line for each reason, the most frequent first: one of its paths, relative to the root, and their number."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in left_out.items():
        by_reason.setdefault(reason, []).append(path)
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    for reason, paths in ordered[:LINES]:
        others = f" and {len(paths) - 1:,} more" if len(paths) > 1 else ""
        yield printable(f"left out, {reason}: {_below(paths[0], roots)}{others}")
    rest = ordered[LINES:]
    if rest:
        named = ", ".join(reason.removeprefix("unknown file type: ") for reason, _ in rest[:LINES])
        more = ", …" * (len(rest) > LINES)
        yield printable(f"left out, for other reasons ({named}{more}): {sum(len(paths) for _, paths in rest):,}")
    if rest or len(left_out) > len(ordered):
        yield "--json lists all of them"


def _below(path: str, roots: list[Path]) -> str:
    """``path`` relative to its root."""
    for root in roots:
        for prefix in (f"{root}/", f"{root.resolve()}/"):
            if path.startswith(prefix):
                return path.removeprefix(prefix)
    return path
