"""A process of its own that adds, edits, copies, deletes and restores records, and keeps a journal of what it wrote.

``python -m bench.soak.record_writer URL JOURNAL SEED RATE`` writes until SIGTERM. A line of the journal is written after
its transaction, which is repeated until it succeeds: so at the end the journal is what the database has to hold.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from bench.workload import functions
from dobby_dagster.store.database.connect import cozo_client

FIRST = 100  # records of the first second
FUNCTIONS = 4_000
PUT = "?[key, content] <- $rows :put record {key => content}"
REMOVE = "?[key] <- $rows :rm record {key}"


class Writer:
    """What is live, what was deleted, and what comes next; ``rate`` is new records a second."""

    def __init__(self, seed: int, rate: float) -> None:
        self._drawn, self._rate = random.Random(seed), rate
        self._contents = functions(FUNCTIONS)
        self._due = 0.0
        self._written = 0
        self.live: dict[str, str] = {}
        self.deleted: dict[str, str] = {}

    def step(self) -> tuple[dict[str, str], list[str]]:
        """The rows of one second to put, and the keys to delete: most are new, some edited, equal or restored."""
        self._due += self._rate if self.live else FIRST
        put: dict[str, str] = {}
        while self._due >= 1:
            self._due -= 1
            put[f"k{self._written:06d}"] = self._content()
            self._written += 1
            if not self.live:
                continue
            key, chance = self._drawn.choice(list(self.live)), self._drawn.random()
            if chance < 0.25:
                put[key] = self._content()
            elif chance < 0.30:  # equal to another record, and so inferred once
                put[f"k{self._written - 1:06d}"] = self.live[key]
            elif chance < 0.35 and self.deleted:
                key = self._drawn.choice(list(self.deleted))
                put[key] = self.deleted[key]
        wanted = sum(self._drawn.random() < 0.1 for key in put) if self.live else 0
        gone = [key for key in self._drawn.sample(list(self.live), min(wanted, len(self.live))) if key not in put]
        return put, gone

    def _content(self) -> str:
        return f"{self._drawn.choice(self._contents)}\n# {self._drawn.randrange(10**9)}"

    def note(self, put: dict[str, str], gone: list[str]) -> None:
        """Remember that they were written."""
        self.live |= put
        for key in put:
            self.deleted.pop(key, None)
        for key in gone:
            self.deleted[key] = self.live.pop(key)


def read(journal: Path) -> dict[str, str | None]:
    """The content of every key that was ever written; None where it was deleted."""
    lines = map(json.loads, journal.read_text(encoding="utf-8").splitlines())
    return {line["key"]: line["content"] for line in lines}


def _transact(url: str, put: dict[str, str], gone: list[str]) -> None:
    with cozo_client(url) as db:
        if put:
            db.run(PUT, {"rows": [list(row) for row in put.items()]})
        if gone:
            db.run(REMOVE, {"rows": [[key] for key in gone]})


def main(url: str, journal: str, seed: str, rate: str) -> None:
    """Write every second until SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    writer = Writer(int(seed), float(rate))
    with Path(journal).open("a", encoding="utf-8", buffering=1) as file:
        while not ended.wait(1.0):
            put, gone = writer.step()
            while True:
                try:
                    _transact(url, put, gone)
                    break
                except Exception as error:
                    print(f"written again in a second: {error}", file=sys.stderr, flush=True)
                    time.sleep(1.0)
            writer.note(put, gone)
            rows: list[tuple[str, Any]] = [*put.items(), *((key, None) for key in gone)]
            file.writelines(
                json.dumps({"at": time.time(), "key": key, "content": content}) + "\n" for key, content in rows
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
