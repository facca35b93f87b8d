"""``python -m bench soak``: the run from start to verdict."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from bench.plots import plot_soak
from bench.soak.accounts import accounts
from bench.soak.growth import growth
from bench.soak.prometheus import SCRAPE_SECONDS, Prometheus, scraping
from bench.soak.record_writer import read
from bench.soak.sampler import Sampler
from bench.soak.soaked_system import SoakedSystem
from bench.soak.timeline import timeline
from bench.verifier import copied, verify
from dobby_dagster.defs.runs.batch_runs import active_runs

SAMPLES = 400
SHORTEST_INTERVAL = 3.0
# The system counts as idle when nothing is left for this long: longer than a sensor's interval.
IDLE_SECONDS = 20.0


def main(arguments: Sequence[str]) -> int:
    """Run; 1 where something did not hold."""
    parser = argparse.ArgumentParser("python -m bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="of arrivals, edits, deletes and kills")
    parser.add_argument("--rate", type=float, default=2.0, help="new records a second")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same events")
    parser.add_argument("--settle-minutes", type=float, default=15.0, help="until everything has to be done")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="a new folder")
    chosen = parser.parse_args(arguments)
    if not 0 < chosen.minutes <= 10_000 or not 0 < chosen.rate <= 1_000:
        parser.error(f"--minutes {chosen.minutes:g}, --rate {chosen.rate:g}: must be above 0, and not beyond reason")
    if chosen.out.exists() and any(chosen.out.iterdir()):
        parser.error(f"--out {chosen.out} is not empty: name a new folder")
    return Soak(chosen.out.resolve(), chosen.minutes, chosen.rate, chosen.seed, chosen.settle_minutes).run()


class Soak:
    """One run, in a folder of its own."""

    def __init__(self, out: Path, minutes: float, rate: float, seed: int, settle_minutes: float) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.minutes, self.rate, self.seed = out, minutes, rate, seed
        self.settle_seconds = settle_minutes * 60
        self.system = SoakedSystem(out, self.log, quick=minutes < 10)
        self.began = time.time()

    def log(self, line: Mapping[str, Any]) -> None:
        """Note an event in the file of events, and tell it."""
        with (self.out / "events.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{line['at'] - self.began:7.0f} s  {line['event']}", file=sys.stderr, flush=True)

    def run(self) -> int:
        """Everything, to the verdict."""
        interval = max(SHORTEST_INTERVAL, self.minutes * 60 / SAMPLES)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped: everything that it started is stopped too"))
        try:
            self.system.start()
            self.began = time.time()
            with (
                scraping(self.out, self.system.monitor_port) as prometheus,
                Sampler(self.system, self.out / "samples.jsonl", interval),
            ):
                with self._writer():
                    for event in timeline(self.minutes, self.seed):
                        self._until(event.at)
                        self.system.do(event)
                    self._until(self.minutes * 60)
                self.log({"at": time.time(), "event": "arrivals ended"})
                seen = {"seconds until idle": round(self._settle(), 1)}
                found = [*self._doctor(), *self._scraped(prometheus, seen)]
        finally:
            self.system.stop()
        return self._verdict(seen, found)

    def _scraped(self, prometheus: Prometheus | None, seen: dict[str, float]) -> list[str]:
        """Violations in what Prometheus saw; the figures that are kept go into ``seen``."""
        if prometheus is None:
            self.log({"at": time.time(), "event": "Prometheus is not installed: metrics were not scraped"})
            return []
        time.sleep(3 * SCRAPE_SECONDS)
        seen |= prometheus.seen()
        with copied(self.system.database) as client:
            return prometheus.violations(accounts(client, self.system.killed).ended, self.system.counts())

    def _until(self, second: float) -> None:
        time.sleep(max(0.0, self.began + second - time.time()))

    @contextmanager
    def _writer(self) -> Iterator[None]:
        command = [sys.executable, "-m", "bench.soak.record_writer", self.system.url, str(self.out / "journal.jsonl")]
        with (self.out / "writer.log").open("w") as log:
            process = subprocess.Popen([*command, str(self.seed), str(self.rate)], stderr=log)  # noqa: S603
            try:
                yield
                if process.poll() is not None:
                    self.system.problems.append(
                        f"the writer ended early: {(self.out / 'writer.log').read_text()[-500:]}"
                    )
            finally:
                process.terminate()
                process.wait()

    def _settle(self) -> float:
        """Wait until nothing is left to do; the seconds that it took."""
        began, idle_since, left = time.time(), 0.0, "?"
        with dg.DagsterInstance.from_config(str(self.system.home)) as instance:
            while time.time() - began < self.settle_seconds:
                time.sleep(2.0)
                left = self._left(instance)
                idle_since = 0.0 if left else idle_since or time.time()
                if idle_since and time.time() - idle_since >= IDLE_SECONDS:
                    self.log({"at": time.time(), "event": "idle"})
                    return idle_since - began
        self.system.problems.append(f"not idle {self.settle_seconds:.0f} s after the last arrival: {left}")
        return time.time() - began

    def _left(self, instance: dg.DagsterInstance) -> str:
        """What is left to do; empty where nothing is."""
        counts, active = self.system.counts(), active_runs(instance)
        rows = self.system.store.source(self.system.settings.source).count()
        left = {name: counts[name] for name in ("waiting", "unfinished", "pending", "in_progress", "owners")}
        left |= {"unplanned": rows - counts["records"], "backfills": active.backfills}
        left["runs"] = sum(not run.is_finished for run in instance.get_runs(limit=50))
        return ", ".join(f"{count} {name}" for name, count in left.items() if count)

    def _doctor(self) -> list[str]:
        done = self.system.dobby("doctor", "--json")
        if done.returncode == 0:
            return []
        try:
            return [f"dobby doctor: {f['name']}: {f['message']}" for f in json.loads(done.stdout) if not f["ok"]]
        except ValueError:
            return [f"dobby doctor: {done.stderr.strip()[-500:]}"]

    def _verdict(self, seen: Mapping[str, float], found: Sequence[str]) -> int:
        journal = read(self.out / "journal.jsonl")
        violations = [*self.system.problems, *found]
        violations += verify(self.system.database, settled=True, quoting=False, journal=journal)
        with copied(self.system.database) as client:
            books = accounts(client, self.system.killed)
        violations += books.violations
        samples = [json.loads(line) for line in (self.out / "samples.jsonl").read_text().splitlines()]
        events = [json.loads(line) for line in (self.out / "events.jsonl").read_text().splitlines()]
        result = {
            "minutes": self.minutes, "rate": self.rate, "seed": self.seed, "began": self.began,
            "events": dict(_counted(events)), "written": len(journal),
            "live": sum(content is not None for content in journal.values()),
            "states": self.system.counts(), **seen,
            **{name: value for name, value in vars(books).items() if name not in ("chunks", "violations")},
            "most started again by one kill": max(books.restarted_by_kill.values(), default=0),
            "growth": growth(samples, self.began, self.minutes), "violations": violations,
        }  # fmt: skip
        (self.out / "result.json").write_text(json.dumps(result, indent=2))
        plot_soak(samples, events, books.chunks, self.began, self.out / "soak")
        _print(result)
        return int(bool(violations))


def _counted(events: list[dict[str, Any]]) -> Counter[str]:
    return Counter(event["event"] for event in events)


def _print(result: Mapping[str, Any]) -> None:
    """The result as Markdown."""
    print("| soak | |\n|---|---|")
    for name, value in result.items():
        if name not in ("growth", "violations", "restarted_by_kill", "began"):
            print(f"| {name} | {value} |")
    for row in result["growth"]:
        print(f"\n{row}")
    for violation in result["violations"]:
        print(f"VIOLATION: {violation}")
