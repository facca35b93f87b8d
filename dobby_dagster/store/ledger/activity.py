"""What is going on: which runs are working, and the chunks that a run has committed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dobby_dagster.domain.scope import BatchId, RecipeId, RunId
from dobby_dagster.store.cozoscript.script import script
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.claims import Claims, Ownership
from dobby_dagster.store.ledger.record_states import UNFINISHED
from dobby_dagster.store.ledger.relations import CHUNK, DEVICE_WAIT
from dobby_dagster.store.ledger.totals import NO_OUTCOMES, add


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run whose process is alive and has claimed records.

    Attributes:
        run: Its identifier.
        recipe: Model, prompt and settings.
        batches: The batches that it has started with, in order.
        since: When it claimed the first records; seconds since the epoch.
    """

    run: RunId
    recipe: RecipeId
    batches: Sequence[BatchId]
    since: float


class Activity:
    """What runs do, and how long they waited before."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._claims = Claims(connection)

    def runs(self) -> list[ActiveRun]:
        """The runs that are working now, the oldest first."""
        owners: dict[RunId, list[Ownership]] = {}
        for owner in self._claims.owners():
            if owner.is_alive:
                owners.setdefault(owner.scope.run, []).append(owner)
        found = [
            ActiveRun(run, held[0].scope.recipe, sorted({o.scope.batch for o in held}), min(o.since for o in held))
            for run, held in owners.items()
        ]
        return sorted(found, key=lambda run: run.since)

    def starting(self, after: float) -> list[ActiveRun]:
        """Runs that began after ``after`` (seconds since the epoch) and hold and committed nothing, the oldest first.

        They load the model, or were ended before their first claim: nothing that is stored tells which.
        """
        query = """?[run, recipe, batch, begun_at] := *dobby_attempt{batch, recipe, run, requested, begun_at},
            requested == false, begun_at > $after, not *dobby_chunk:by_run{run}, not *dobby_owner{run}"""
        found: dict[RunId, ActiveRun] = {}
        for run, recipe, batch, begun_at in sorted(
            self._connection.run(query, {"after": after}).rows, key=lambda r: r[2]
        ):
            before = found.get(run)
            batches = [*(before.batches if before else []), BatchId(batch)]
            since = min(begun_at, before.since if before else begun_at)
            found[run] = ActiveRun(RunId(run), RecipeId(recipe), batches, since)
        return sorted(found.values(), key=lambda run: run.since)

    def note_device_wait(self, run: RunId, seconds: float) -> None:
        """Store how long ``run`` waited until the device was free, and add it to the counters, once."""
        blocks = [NO_OUTCOMES, add(f"*{DEVICE_WAIT.name}{{run: $run}}"), DEVICE_WAIT.put()]
        addends = [["device_wait", "sum", seconds], ["device_wait", "count", 1]]
        params = {"run": run, "addends": addends, "rows": [[run, seconds, time.time()]]}
        self._connection.run(script(blocks), params, write=True)

    def device_wait(self, run: RunId) -> float | None:
        """How long ``run`` waited until the device was free, in seconds; None where that is unknown."""
        rows = self._connection.run("?[seconds] := *dobby_device_wait{run: $run, seconds}", {"run": run}).rows
        return float(rows[0][0]) if rows else None

    def latest_run(self) -> ActiveRun | None:
        """The run with the last commit; None where there was none."""
        rows = self._connection.run(
            "latest[max(finished_at)] := *dobby_chunk{batch, recipe, chunk, finished_at}\n"
            "?[run, recipe, started_at] :="
            " latest[finished_at], *dobby_chunk{batch, recipe, chunk, run, started_at, finished_at} :limit 1"
        ).rows
        return ActiveRun(RunId(rows[0][0]), RecipeId(rows[0][1]), [], rows[0][2]) if rows else None

    def chunks(self, run: RunId, after: str = "") -> list[dict[str, Any]]:
        """The chunks that ``run`` has committed, in order; only those after the chunk ``after``."""
        query = (
            f"{CHUNK.head} := *dobby_chunk:by_run{{run: $run, batch, recipe, chunk}}, chunk > $after, run = $run,"
            f" {CHUNK.stored}"
        )
        rows = self._connection.run(query, {"run": run, "after": after}).dicts()
        return sorted(rows, key=lambda row: row["chunk"])

    def last_chunk(self, run: RunId) -> dict[str, Any] | None:
        """The chunk that ``run`` has committed last; None where it has not committed any."""
        last = "?[chunk, batch, recipe] := *dobby_chunk:by_run{run: $run, chunk, batch, recipe} :order -chunk :limit 1"
        for row in self._connection.run(last, {"run": run}).dicts():
            query = f"{CHUNK.head} := {CHUNK.stored}, batch = $batch, recipe = $recipe, chunk = $chunk"
            return next(self._connection.run(query, row).dicts(), None)
        return None

    def last_commit(self) -> float | None:
        """When anything was committed last, in seconds since the epoch; reads every chunk."""
        rows = self._connection.run("?[max(finished_at)] := *dobby_chunk{batch, recipe, chunk, finished_at}").rows
        return rows[0][0] if rows else None

    def batches_of(self, run: RunId) -> list[BatchId]:
        """The batches that ``run`` was started for or has committed to, in order."""
        query = """of[batch] := *dobby_attempt{batch, recipe, run}, run == $run
        of[batch] := *dobby_chunk:by_run{run: $run, batch, recipe, chunk}
        ?[batch] := of[batch]"""
        return sorted(BatchId(row[0]) for row in self._connection.run(query, {"run": run}).rows)

    def share_of(self, run: RunId, recipe: RecipeId, batches: Sequence[BatchId], max_retries: int) -> int:
        """The records of ``batches`` that ``run`` has finished, or has left to process."""
        query = f"""others[batch, position] := batch in $batches, *dobby_member{{batch, position, source, key, content_hash}},
            *dobby_state{{source, key, content_hash, recipe: $recipe, state, retry, retry_count, reason, run, batch: in_batch @ 'END'}},
            run != $run, !({UNFINISHED})
        ?[count(position)] := batch in $batches, *dobby_member{{batch, position}}, not others[batch, position]"""
        params = {"run": run, "recipe": recipe, "batches": list(batches), "max_retries": max_retries}
        return int(self._connection.run(query, params).rows[0][0])
