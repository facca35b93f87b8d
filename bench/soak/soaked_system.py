"""The system of a soak: a `dobby dev` with a home and a database of its own, whose processes are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from bench.soak.timeline import Event
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.inference.recipe import recipe_for
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import PROCESS
from dobby_dagster_tests.helpers.webserver import Served, free_port

# A failure is retried within the run, and the small model is fast; everything else is as shipped.
SETTINGS = {"DOBBY_AUTOMATION_RETRY_SECONDS": "30", "MODEL_PATH": "dobby-code-11m"}
# For a run of minutes, which shall hold many runs of batches all the same.
QUICK = {
    "DOBBY_AUTOMATION_INTERVAL_SECONDS": "5", "DOBBY_AUTOMATION_GATHER_SECONDS": "10",
    "DOBBY_AUTOMATION_RETRY_SECONDS": "10", "DOBBY_PIPELINE_BATCH_SIZE": "200", "DOBBY_PIPELINE_CHUNK_SIZE": "30",
}  # fmt: skip
# What the recipe changes to, in turn.
RECIPES: tuple[Mapping[str, str], ...] = (
    {},
    {"DOBBY_INFERENCE_MAX_NEW_TOKENS": "40"},
    {"DOBBY_INFERENCE_MAX_NEW_TOKENS": "60"},
)
RESTART_SECONDS = 90.0
WORKER_SECONDS = 120.0


class SoakedSystem:
    """A running `dobby dev`.

    Args:
        folder: Of the database, the home and the logs.
        log: Gets a line, as a mapping, for everything that is done.
        quick: Poll and retry more often than the defaults, in smaller batches.
    """

    def __init__(self, folder: Path, log: Callable[[Mapping[str, Any]], None], quick: bool) -> None:
        self._settings = SETTINGS | (QUICK if quick else {})
        self.folder, self.home, self._log = folder, folder / "home", log
        self.database = folder / "records.db"
        self.url = f"sqlite:///{self.database}"
        self.recipe = 0
        self.monitor_port = free_port()
        self.killed: set[int] = set()
        self.problems: list[str] = []
        self.served = Served(folder, self.environment)
        self.store = CozoStore.open(self.settings.database)

    @property
    def environment(self) -> dict[str, str]:
        """What its processes are started with, under the recipe in use."""
        places = {
            "DATABASE_URL": self.url,
            "DAGSTER_HOME": str(self.home),
            "DOBBY_MONITOR_PORT": str(self.monitor_port),
        }
        return {**places, **self._settings, **RECIPES[self.recipe % len(RECIPES)]}

    @property
    def settings(self) -> Settings:
        """Its settings, under the recipe in use."""
        return load_settings(environment=self.environment).settings

    def counts(self) -> dict[str, int]:
        """Records by state under the recipe in use, those that wait for a batch or are left to run, and owners."""
        store, settings = self.store, self.settings
        recipe, relation = recipe_for(settings).id, settings.source.relation
        left = store.states.unfinished(relation, recipe, settings.pipeline.max_retries)
        return {
            **store.reports.status(relation, recipe), "waiting": store.versions.waiting(relation),
            "unfinished": sum(left.values()), "owners": len(store.claims.owners()),
        }  # fmt: skip

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.served = Served(self.folder, self.environment)
        self.served.start()

    def stop(self) -> None:
        """Stop it by SIGTERM; a process that is left is a problem."""
        self.killed.update(process.pid for process in self.served.processes())
        for process in self.served.of("supervisor"):
            process.terminate()
        psutil.wait_procs(self.served.of("supervisor"), timeout=30)
        left = self.served.processes()
        psutil.wait_procs(left, timeout=5)
        if left := [process for process in left if process.is_running()]:
            names = [" ".join(process.cmdline()[1:5]) for process in left]
            self.problems.append(f"{len(left)} processes outlived the end of dobby dev: {names}")
        self.served.stop()

    def dobby(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ``dobby`` on it."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(  # noqa: S603
            [*PROCESS, *arguments], env=environment, cwd=self.folder, capture_output=True, text=True, check=False
        )

    def do(self, event: Event) -> None:
        """What the event says; back when the system is whole again."""
        began = time.time()
        pids = self._kill(event) if event.signal else self._change()
        self._log({"at": began, "event": str(event), "pids": pids, "seconds": round(time.time() - began, 1)})

    def _change(self) -> list[int]:
        """Another recipe, and a backfill of everything that has no summary under it."""
        self.stop()
        self.recipe += 1
        self.start()
        done = self.dobby("backfill", "--all", "--submit", "--json")
        if done.returncode:
            self.problems.append(f"dobby backfill --all --submit: {done.stderr.strip()[-300:]}")
        else:
            self._log({"at": time.time(), "event": "backfill", **json.loads(done.stdout)})
        return []

    def _kill(self, event: Event) -> list[int]:
        def find() -> list[psutil.Process]:
            return self.served.processes() if event.target == "all" else self.served.of(event.target)

        _wait(find, WORKER_SECONDS)
        time.sleep(event.delay)
        there = find()
        pids = [process.pid for process in there]
        whole = event.target in ("all", "supervisor")
        # The end of dobby dev, and a start over its orphans, end what it had started; SIGTERM also ends the children.
        ended = self.served.processes() if whole else [*there, *_children(there)]
        self.killed.update(process.pid for process in ended)
        if event.target == "supervisor" and event.signal == signal.SIGTERM:
            self.stop()
        else:
            self.served.kill(there, event.signal)
        if whole:
            self.start()
        elif event.target not in ("worker", "watchdog") and not _wait(
            lambda: self.served.of(event.target), RESTART_SECONDS
        ):
            self.problems.append(f"{event}: not restarted in {RESTART_SECONDS:.0f} s")
        return pids


def _children(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        with suppress(psutil.Error):
            found += process.children(recursive=True)
    return found


def _wait(condition: Callable[[], Any], seconds: float) -> Any:
    """What ``condition`` gives when it holds, or at the end of the time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found
