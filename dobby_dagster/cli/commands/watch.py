"""``dobby watch``: what every run is doing now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import note, out, print_json
from dobby_dagster.domain.errors import StoreError
from dobby_dagster.domain.plurals import counted, spanned
from dobby_dagster.domain.printable import printable, shortened

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from dobby_dagster.pipeline.monitoring.progress_reader import ProgressReader, Remaining, RunProgress
    from dobby_dagster.store.ledger.activity import ActiveRun

UNKNOWN = "unknown"
ERROR_LENGTH = 90
# The file of the database is looked at this often, which costs nothing, and read at most this often.
LOOK_SECONDS, LEAST_SECONDS = 0.03, 0.2


@options.takes("database")
def watch(
    given: options.Given,
    interval: Annotated[
        float, typer.Option(min=0.05, max=3600, help="Longest time between two readings, in seconds.")
    ] = 0.5,
    once: Annotated[bool, typer.Option("--once", help="Read once, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per reading, one per line.")] = False,
) -> None:
    """Show what every run is doing now: records, speed, time left, slots, memory, errors. Ctrl-C ends it."""
    from dobby_dagster.pipeline.monitoring.progress_reader import ProgressReader

    use = opened(given)
    reader = ProgressReader(use.store, use.settings.pipeline.max_retries)
    readings = _readings(reader, use.settings.database.address.file, interval, once)
    with suppress(KeyboardInterrupt):
        if as_json:
            for reading in readings:
                print_json(_document(reading))
        elif once or not out.is_terminal:
            for reading in _news(readings):
                out.print(*_shown(reading))
        else:
            _redrawn(readings)


NEVER = "No run has committed anything to this database yet."


class Reading(NamedTuple):
    """What was read at one moment: the runs that work, else the last one, and those that began and claimed nothing."""

    runs: list[RunProgress]
    starting: list[ActiveRun]


def _readings(reader: ProgressReader, file: Path | None, interval: float, once: bool) -> Iterator[Reading]:
    """Readings at most ``interval`` seconds apart; earlier where the database's file was written to.

    A database that is locked, or a server that does not answer, is a line on standard error: it may pass.
    """
    while True:
        began, written = time.monotonic(), _written(file)
        try:
            reading = Reading(reader.read(), reader.starting())
        except StoreError as error:
            if once or not error.retry.may_pass:
                raise
            note(f"{error}; reading goes on")
            time.sleep(interval)
            continue
        yield reading
        if once:
            return
        due = began + interval
        time.sleep(max(0.0, min(due, began + LEAST_SECONDS) - time.monotonic()))
        while time.monotonic() < due and _written(file) == written:
            time.sleep(max(0.0, min(LOOK_SECONDS, due - time.monotonic())))


def _news(readings: Iterator[Reading]) -> Iterator[Reading]:
    """Readings that differ from the one before by more than the time since the last commit."""
    last: Reading | None = None
    for reading in readings:
        shown = reading._replace(runs=[replace(run, since_commit=None) for run in reading.runs])
        if shown != last:
            yield reading
        last = shown


def _written(file: Path | None) -> int:
    """A number that changes with each commit to an SQLite file; always 0 for other databases."""
    try:
        return file.stat().st_mtime_ns if file else 0
    except OSError:
        return 0


def _document(reading: Reading) -> dict[str, object]:
    """One reading: the runs that are working, and where none is those that began, and the last one."""
    working = [asdict(run) for run in reading.runs if run.running]
    last = next((asdict(run) for run in reading.runs if not run.running), None)
    return {"at": time.time(), "runs": working, "starting": [asdict(run) for run in reading.starting], "last_run": last}


def _shown(reading: Reading) -> Iterator[Table | Text]:
    """One reading for people."""
    from rich.text import Text

    for started in reading.starting:
        yield Text(
            f"Run {started.run[:8]} of {spanned(started.batches)} began at {_clock(started.since)} and has claimed"
            " no record yet: it loads the model, or it was ended."
        )
    for run in reading.runs:
        yield _table(run, alone=not reading.starting)
    if not reading.runs and not reading.starting:
        yield Text(NEVER)


def _redrawn(readings: Iterator[Reading]) -> None:
    from rich.console import Group
    from rich.live import Live

    with Live(console=out, auto_refresh=False, transient=False) as live:
        for reading in readings:
            live.update(Group(*_shown(reading)), refresh=True)


def _table(run: RunProgress, *, alone: bool) -> Table:
    """One run as a table of names and values; ``alone`` where no run works and none begins."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    last = f"{'Nothing is running. ' if alone else ''}The last run was {run.run[:8]}"
    table.title, table.title_justify = f"run {run.run[:8]}" if run.running else last, "left"
    settled = run.completed + run.failed + run.skipped
    rows = {
        "working since": _clock(run.since) if run.running and run.since is not None else "",
        "batches": f"{counted(len(run.batches), 'batch')}: {spanned(run.batches)}",
        "records": f"{settled:,} of {run.total:,} ({_share(settled, run.total)}): {run.completed:,} completed, "
        f"{run.failed:,} failed, {run.skipped:,} skipped, {run.remaining:,} left",
        "records a minute": f"{run.per_minute_recent:,.0f} (last 10 s), {run.per_minute:,.0f} (whole run)"
        if run.running
        else f"{run.per_minute:,.0f}",
        "time left": _time_left(run.left) if run.running else "",
        "tokens a second": _known(run.tokens_per_second, "{:,.0f}") if run.running else "",
        "slots in use": _slots(run),
        "wait for a slot": _known(run.queue_seconds, "{:.2f} s (mean)"),
        "wait for the device": "" if run.device_wait_seconds is None else f"{run.device_wait_seconds:,.1f} s",
        "memory": UNKNOWN if run.memory_bytes is None else f"{run.memory_bytes / 2**20:,.0f} MiB",
        "CPU": _known(run.cpu_cores, "{:.1f} cores") if run.running else "",
        "last commit": "none yet" if run.since_commit is None else f"{run.since_commit:,.1f} s ago",
        "last error": shortened(printable(run.last_error), ERROR_LENGTH) or "none",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, Text(value))  # an error may quote a record: no markup
    return table


def _clock(at: float) -> str:
    """A moment as the clock of this machine shows it, and how long ago it was."""
    return f"{time.strftime('%H:%M:%S', time.localtime(at))} ({_duration(max(0.0, time.time() - at))} ago)"


def _slots(run: RunProgress) -> str:
    if run.slots is None or run.slots_in_use is None:
        return UNKNOWN
    return f"{run.slots_in_use:.1f} of {run.slots}, {run.slots - run.slots_in_use:.1f} free"


def _known(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else form.format(value)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "100%"


def _time_left(left: Remaining | None) -> str:
    if left is None:
        return UNKNOWN
    margin = "" if left.margin is None else f" ± {_duration(left.margin)}"
    return f"{_duration(left.seconds)}{margin}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
