"""A system of several hosts with one database server, the faults that befall them, and what must hold at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.cozo_server import running_server
from dobby_dagster_tests.helpers.hanging_engine import asked
from dobby_dagster_tests.helpers.host_network import NetworkHost, hosts
from dobby_dagster_tests.helpers.postgres import Postgres
from dobby_dagster_tests.helpers.records import put

CLAIM_SECONDS = 3.0
# What one host has in progress at most: the window of the fake engine's four slots.
WINDOW = 16
PATIENCE_SECONDS = 300.0


@dataclass
class SeveralHosts:
    """The hosts, and the ledger as the database server's own machine sees it.

    Attributes:
        port: Of the database server, on this machine.
        storage: Of Dagster, if the hosts share one.
        records: How many there are.
        ahead: While :meth:`wait` waits, more come so that as many are not done: no host runs out of work.
    """

    hosts: list[NetworkHost]
    store: CozoStore
    folder: Path
    port: int
    storage: Postgres | None = None
    records: int = 0
    ahead: int = 80

    def start(self, host: NetworkHost) -> None:
        """Start a host, or start it again."""
        folder = self.folder / host.name
        folder.mkdir(exist_ok=True)
        (folder / "inferred").touch()
        worker = [sys.executable, "-m", "dobby_dagster_tests.helpers.host_worker"]
        url, environment = f"http://{host.near}:{host.reach(self.port)}", {}
        if self.storage is not None:
            self.storage.home(folder / "home")
            environment = {
                **self.storage.environment, "DAGSTER_PG_HOST": host.near,
                "DAGSTER_PG_PORT": str(host.reach(self.storage.port)),
            }  # fmt: skip
        host.start([*worker, url, str(folder), str(CLAIM_SECONDS)], environment, folder / "log")

    def add(self, records: int) -> None:
        """More rows in the source."""
        numbers = range(self.records, self.records + records)
        put(self.store, {f"k{number:05d}": f"SLOW word{number}" for number in numbers})
        self.records += records

    def inferred(self, host: NetworkHost) -> list[str]:
        """The contents that a host has inferred, in order."""
        return asked(self.folder / host.name)

    def completed(self) -> int:
        """How many records have their summary."""
        return int(self.store.totals.read().get("records", {}).get("completed", 0))

    def holders(self) -> set[str]:
        """The names of the hosts that have records in progress."""
        return {owner.owner.partition("@")[0] for owner in self.store.claims.owners()}

    def wait(self, condition: Callable[[], bool], what: str) -> float:
        """Wait for ``condition``; return how long that took, in seconds.

        Raises:
            AssertionError: It does not come; with the last lines of each host's log.
        """
        began = time.monotonic()
        while not condition():
            if self.completed() > self.records - self.ahead:
                self.add(self.ahead)
            self._give_up_after(began, what)
            time.sleep(0.1)
        return time.monotonic() - began

    def finish(self) -> None:
        """Wait until all records are done, and all claims released.

        Raises:
            AssertionError: That does not come.
        """
        began = time.monotonic()
        while self.completed() < self.records or self.store.claims.owners():
            self._give_up_after(began, "end of the work")
            time.sleep(0.1)

    def _give_up_after(self, began: float, what: str) -> None:
        if time.monotonic() - began > PATIENCE_SECONDS:
            logs = {host.name: (self.folder / host.name / "log").read_text()[-1_500:] for host in self.hosts}
            raise AssertionError(f"no {what}: {self.completed()} completed, held by {self.holders()}, {logs}")

    def check(self, faults: int) -> dict[str, int]:
        """What must hold once all is done: every record once.

        Args:
            faults: How many there were; each may have cost what its host had in progress.

        Returns:
            How many records each host has inferred, and how often one was inferred again.
        """
        run, records = self.store.connection.run, self.records
        assert run("?[count(key)] := *dobby_summary{source, key, fingerprint}").rows == [[records]]
        states = run("?[state, count(key)] := *dobby_state{source, key, content_hash, recipe, state @ 'END'}").rows
        assert states == [["completed", records]]
        times = run(
            "?[key, count(at)] := *dobby_state{source, key, content_hash, recipe, at, state}, state == 'completed'"
        )
        assert Counter(row[1] for row in times.rows) == {1: records}, "every record was committed once"
        sums = run(
            "?[sum(c), sum(f), sum(s), sum(i)] := *dobby_chunk{chunk, completed: c, failed: f, skipped: s, inferred: i}"
        )
        assert sums.rows == [[records, 0, 0, records]]
        totals = self.store.totals.read()
        assert (totals["records"], totals["inferred"]) == ({"completed": records}, {"": records})
        assert self.store.check() == []
        by_host = {host.name: len(self.inferred(host)) for host in self.hosts}
        every = Counter(content for host in self.hosts for content in self.inferred(host))
        assert len(every) == records
        again = every.total() - records
        assert again <= faults * WINDOW, "only what a host had in progress at a fault is inferred again"
        return by_host | {"again": again}


@contextmanager
def several_hosts(
    folder: Path, names: list[str], records: int, storage: Postgres | None = None
) -> Iterator[SeveralHosts]:
    """A database server with ``records`` records, and hosts that are not started yet."""
    with running_server() as server:
        store = CozoStore.open(DatabaseSettings(url=server.url))
        with hosts(names) as made:
            system = SeveralHosts(made, store, folder, server.server_address[1], storage)
            system.add(records)
            yield system
        store.close()
