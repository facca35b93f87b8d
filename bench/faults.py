"""A fault at the n-th operation of the store, for every n, over the small life of a database.

Each round runs in processes of its own: one lives until the fault, the next recovers and finishes the work. After each
of the two a verifier that shares no code with Dobby examines a copy of the database. The process that directs the rounds
never opens CozoDB, so that it can be forked.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpcore  # noqa: F401  (each fork would import it again)
import httpx

from bench.verifier import verify
from dobby_dagster.domain.errors import DobbyError, StoreFaultError, StoreUnavailableError
from dobby_dagster.domain.http_reply import Reply
from dobby_dagster.domain.scope import RunId, Scope
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.summarization.summarizer import Summarizer
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.database.embedded_connection import EmbeddedConnection
from dobby_dagster.store.database.http_connection import HttpConnection
from dobby_dagster_tests.helpers.cozo_server import running_server
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import PROMPT, RECIPE
from dobby_dagster_tests.helpers.records import put

ENGINES = ("sqlite", "http")
KINDS = ("error", "time-out", "panic", "kill")
MOMENTS = ("before", "during", "after")
SECONDS = 120
# Rounds are about order, not about the disk: a file system in memory avoids its waits.
_FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
RUN = RunId("run")
FORMER = Recipe(PROMPT.name, PROMPT.text, "former", "0", {})
_PANICKING = "?[key] := *record{key}, not *dobby_version{key @ 'END'}"


@dataclass(frozen=True)
class Fault:
    """What goes wrong: at the ``at``-th operation (from 1), before, during or after it; ``lasting``: from then on."""

    engine: str
    kind: str
    at: int
    moment: str = "before"
    lasting: bool = False


class Trouble:
    """Counts operations and does what the fault says."""

    def __init__(self, fault: Fault | None) -> None:
        self.fault, self.count = fault, 0

    def around(self, operation: Callable[[], Any], fail: Callable[[str], None]) -> Any:
        """Do ``operation`` with the fault, if it is this one's turn; ``fail`` raises as the engine does."""
        self.count += 1
        fault = self.fault
        if fault is None or self.count < fault.at or (self.count > fault.at and not fault.lasting):
            return operation()
        if fault.kind == "kill" and fault.moment == "during":
            threading.Timer(random.random() * 0.004, _die).start()
            operation()
            time.sleep(0.01)
        if fault.moment != "before":
            operation()
        if fault.kind == "kill":
            _die()
        fail(fault.kind)
        return None


class FaultyClient:
    """A client of CozoDB's embedded engine with the fault in it."""

    def __init__(self, client: Any, trouble: Trouble) -> None:
        self._client, self._trouble = client, trouble

    def run(self, script: str, params: dict[str, Any], immutable: bool) -> Any:
        """As the client's own."""
        return self._trouble.around(lambda: self._client.run(script, params, immutable), self._fail)

    def close(self) -> None:
        """As the client's own."""
        self._client.close()

    def _fail(self, kind: str) -> None:
        if kind == "panic":
            self._client.run(_PANICKING, {}, True)
        raise RuntimeError("database is locked (code 5)" if kind == "time-out" else "disk I/O error (code 10)")


class FaultyEmbedded(EmbeddedConnection):
    """An embedded database with the fault in it."""

    def __init__(self, path: str, trouble: Trouble) -> None:
        super().__init__("sqlite", path, 0.05)
        self._trouble = trouble

    def _open(self, path: str) -> Any:
        return FaultyClient(super()._open(path), self._trouble)


class FaultyHttp(HttpConnection):
    """A server with the fault on the way to it."""

    def __init__(self, url: str, trouble: Trouble) -> None:
        super().__init__(DatabaseSettings(url=url), backoff_seconds=0.001)
        self._trouble = trouble

    def _answer(self, method: str, path: str, data: bytes | None) -> Reply:
        send = super()._answer
        reply: Reply = self._trouble.around(lambda: send(method, path, data), self._fail)
        return reply

    def _fail(self, kind: str) -> None:
        if kind == "error":
            raise StoreFaultError("injected: an answer that can't be read")
        raise StoreUnavailableError(f"injected: {'the answer took too long' if kind == 'time-out' else 'disconnected'}")


def life(store: CozoStore) -> None:
    """What happens to a small database, from its first record to the purge of a former model.

    Records come, are summarised by that model and by another, edited, deleted, done again, compacted.
    """
    put(store, {f"k{number}": f"word{number} first" for number in range(3)})
    _work(store, FORMER)
    store.upkeep.purge(FORMER.id)
    put(store, {"k3": "word3 first"})
    _work(store)
    put(store, {"k1": "edited1 second", "k9": "added9 second"})
    store.records.remove(["k2"])
    _work(store)
    store.upkeep.redo("record", RECIPE.id, ["k0"])
    store.upkeep.compact(time.time() + 1)
    finish(store)


def finish(store: CozoStore) -> None:
    """What a next run does: recover what dead processes left, and do what is to do."""
    for owner in store.claims.owners():
        if not owner.is_alive:
            store.claims.release(owner.owner, owner.scope)
    _work(store)


def _work(store: CozoStore, recipe: Recipe = RECIPE) -> None:
    source = store.source(SourceSettings())
    plan(store, source, 3)
    store.recipes.remember(recipe)
    left = list(store.states.unfinished("record", recipe.id, 3))
    store.attempts.note_run(recipe.id, left, RUN)

    with Summarizer(store, source, FakeEngine(), PROMPT, recipe, 2) as summarizer:
        for batch in left:
            scope = Scope(recipe.id, batch, RUN)
            members = [m for m in store.states.members_from(source, scope) if m.is_runnable(batch, 3)]
            for chunk in summarizer.summarize(members, scope):
                store.chunks.commit(source, chunk, scope)
    store.attempts.forget(recipe.id, left)


def operations(engine: str) -> int:
    """How many operations the life takes on ``engine``."""
    with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
        return int(
            _on_database(engine, Path(folder), lambda where: _forked(lambda: _live(engine, where, None)))["count"]
        )


def round_of(fault: Fault) -> dict[str, Any]:
    """One round: how the life ended, and what the verifier found after it and after the recovery."""
    with tempfile.TemporaryDirectory(prefix="dobby-faults-", dir=_FOLDER) as place:
        folder = Path(place)

        def directed(where: str) -> dict[str, Any]:
            lived = _forked(lambda: _live(fault.engine, where, fault))
            _save(fault.engine, where, folder / "after.db")
            done = _forked(lambda: _recover(fault.engine, where, folder))
            _save(fault.engine, where, folder / "finished.db")
            held = _forked(lambda: _verify(folder))
            return {**asdict(fault), **lived, **done, **held}

        return _on_database(fault.engine, folder, directed)


def every(engines: tuple[str, ...] = ENGINES, stride: int = 1) -> Iterator[Fault]:
    """A fault at each ``stride``-th operation of the life; kinds and moments take turns."""
    for engine in engines:
        for at in range(1, operations(engine) + 1, stride):
            kind = KINDS[(at // stride) % len(KINDS)]
            yield Fault(engine, kind, at, MOMENTS[(at // stride // len(KINDS)) % len(MOMENTS)], at % 5 == 0)


def seeded(rounds: int, seed: int) -> Iterator[Fault]:
    """Faults drawn by chance, the same for the same seed."""
    drawn, counts = random.Random(seed), {engine: operations(engine) for engine in ENGINES}
    for _ in range(rounds):
        engine = drawn.choice(ENGINES)
        at, lasting = drawn.randint(1, counts[engine]), drawn.random() < 0.25
        yield Fault(engine, drawn.choice(KINDS), at, drawn.choice(MOMENTS), lasting)


def run(faults: Iterator[Fault], out: Path | None = None, skip: int = 0) -> list[dict[str, Any]]:
    """Run a round for each fault; each result is a line of the file ``out``, as it comes.

    Args:
        faults: In their order.
        out: JSON lines, appended to.
        skip: How many of the faults an earlier call has done.
    """
    results = []
    for number, fault in enumerate(faults):
        if number < skip:
            continue
        result = round_of(fault)
        results.append(result)
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
    return results


def table_of(results: list[dict[str, Any]]) -> list[dict[str, object]]:
    """Rounds by engine and kind: how the life ended, and in how many the invariants did not hold."""
    rows: list[dict[str, object]] = []
    for engine, kind in sorted({(result["engine"], result["kind"]) for result in results}):
        mine = [result for result in results if (result["engine"], result["kind"]) == (engine, kind)]
        ended = Counter(result["ended"] for result in mine)
        row: dict[str, object] = {"engine": engine, "fault": kind, "rounds": len(mine)}
        row |= {how: ended[how] for how in ("finished", "error", "killed", "other")}
        rows.append(row | {"violations": sum(not sound(result) for result in mine)})
    return rows


def sound(result: dict[str, Any]) -> bool:
    """Whether everything held in a round."""
    return not result["after"] and not result["finished_with"] and not result["recovery"] and result["ended"] != "other"


def _connection(engine: str, where: str, fault: Fault | None) -> tuple[Connection, Trouble]:
    trouble = Trouble(fault)
    return (FaultyEmbedded(where, trouble) if engine == "sqlite" else FaultyHttp(where, trouble)), trouble


def _live(engine: str, where: str, fault: Fault | None) -> dict[str, Any]:
    connection, trouble = _connection(engine, where, fault)
    try:
        life(CozoStore(connection))
    except DobbyError as error:
        return {"ended": "error", "message": error.message[:200], "count": trouble.count}
    return {"ended": "finished", "message": "", "count": trouble.count}


def _recover(engine: str, where: str, folder: Path) -> dict[str, Any]:
    try:
        connection, _ = _connection(engine, where, None)
        finish(CozoStore(connection))
    except BaseException as error:
        return {"recovery": f"{type(error).__name__}: {error}"[:200]}
    return {"recovery": ""}


def _verify(folder: Path) -> dict[str, Any]:
    after, finished = folder / "after.db", folder / "finished.db"
    return {
        "after": verify(after, settled=False)[:5] if after.exists() else [],
        "finished_with": verify(finished, settled=True)[:5],
    }


def _on_database(engine: str, folder: Path, action: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Do ``action`` with the path of a database, or the URL of a server in a process of its own."""
    if engine == "sqlite":
        return action(str(folder / "records.db"))
    reading, writing = os.pipe()
    server = os.fork()
    if server == 0:
        _serve(writing)
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            return action(told.readline().strip())
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)


def _serve(writing: int) -> None:
    _mute()
    with running_server() as server, os.fdopen(writing, "w") as tell:
        tell.write(server.url + "\n")
        tell.flush()
        threading.Event().wait(SECONDS * 3)
    os._exit(0)


def _save(engine: str, where: str, copy: Path) -> None:
    """A copy of the database, for the verifier."""
    if engine == "http":
        httpx.post(f"{where}/backup", json={"path": str(copy)}, timeout=30).raise_for_status()
        return
    for ending in ("", "-journal"):
        if Path(where + ending).exists():
            copy.with_name(copy.name + ending).write_bytes(Path(where + ending).read_bytes())


def _forked(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``action`` returns in a process of its own; how that ended, where it did not return."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _mute()
        signal.alarm(SECONDS)
        try:
            answer = action()
        except BaseException as error:
            answer = {"ended": "other", "message": f"{type(error).__name__}: {error}"[:300], "after": [str(error)]}
        with os.fdopen(writing, "w") as tell:
            tell.write(json.dumps(answer))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    if text:
        return dict(json.loads(text))
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return {"ended": "killed" if killed else "other", "message": f"status {status}", "recovery": f"status {status}"}


def _mute() -> None:
    """Panics of CozoDB write to standard error; here they are wanted."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """``python -m bench faults [--every STRIDE] [--rounds N] [--seed S] [--out FILE]``; 1 where something did not hold."""
    import argparse

    parser = argparse.ArgumentParser("python -m bench faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=0, help="faults drawn by chance")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=0, metavar="STRIDE", help="a fault at each STRIDE-th operation")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="with --every; by default all")
    parser.add_argument("--out", type=Path, help="JSON lines, one a round; a second call goes on where it ended")
    chosen = parser.parse_args(arguments)
    skip = len(chosen.out.read_text().splitlines()) if chosen.out and chosen.out.exists() else 0
    engines = tuple(chosen.engine or ENGINES)
    faults = seeded(chosen.rounds, chosen.seed) if chosen.rounds else every(engines, chosen.every or 1)
    results = run(faults, chosen.out, skip)
    if skip:
        results = [json.loads(line) for line in chosen.out.read_text().splitlines()]
    for result in results:
        if not sound(result):
            print(json.dumps(result))
    print(json.dumps(table_of(results)))
    return int(not all(map(sound, results)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
