"""Runs that stopped making progress, and the records that were in progress then."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dobby_dagster.domain.errors import StalledError
from dobby_dagster.domain.records import RecordVersion
from dobby_dagster.domain.scope import NO_RECIPE, BatchId, OwnerId, RecipeId, RunId, Scope
from dobby_dagster.domain.stall import Stall, StallKind
from dobby_dagster.domain.states import ProcessingState, State
from dobby_dagster.store.cozoscript.script import script, unpack
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.claims import Claims
from dobby_dagster.store.ledger.record_states import state_row
from dobby_dagster.store.ledger.relations import STALL, STATE, SUSPECT
from dobby_dagster.store.ledger.totals import add


@dataclass(frozen=True, slots=True)
class Progress:
    """The last claim or commit of a run that holds claims, ``at`` in seconds since the epoch."""

    run: RunId
    recipe: RecipeId
    owner: OwnerId
    batches: Sequence[BatchId]
    at: float


class RunStalls:
    """What is known of stalled runs, and which records are suspected of stalling them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._held = Claims(connection)

    def progress(self) -> list[Progress]:
        """The last progress of each run that holds claims, dead or alive."""
        # CozoDB's max takes no strings.
        query = """all[run, collect(chunk)] := *dobby_owner{owner, run}, *dobby_chunk:by_run{run, chunk}
        last[run, chunk] := all[run, chunks], chunk = last(sorted(chunks))
        committed[run, finished_at] := last[run, chunk], *dobby_chunk:by_run{run, chunk, batch, recipe},
            *dobby_chunk{batch, recipe, chunk, finished_at}
        ?[owner, run, recipe, batch, since, finished_at] := *dobby_owner{owner, run, recipe, batch, since},
            committed[run, finished_at]
        ?[owner, run, recipe, batch, since, finished_at] := *dobby_owner{owner, run, recipe, batch, since},
            not committed[run, _], finished_at = 0.0"""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self._connection.run(query).dicts():
            found.setdefault(row["owner"], []).append(row)
        return [
            Progress(
                rows[0]["run"], rows[0]["recipe"], OwnerId(owner), sorted({row["batch"] for row in rows}),
                max(max(row["since"], row["finished_at"]) for row in rows),
            )
            for owner, rows in found.items()
        ]  # fmt: skip

    def recent(self, since: float) -> list[Stall]:
        """The runs that were ended as stalled after ``since`` (seconds since the epoch), oldest first."""
        query = f"{STALL.head} := {STALL.stored}, at > $since :order at"
        return [_stall(row) for row in self._connection.run(query, {"since": since}).dicts()]

    def suspects(self, scope: Scope) -> dict[tuple[str, str], int]:
        """How many stalls each record of the batch was in progress at, by key and content hash; only those with any."""
        query = (
            "?[key, content_hash, stalls] := *dobby_suspect{recipe: $recipe, batch: $batch, key, content_hash, stalls}"
        )
        rows = self._connection.run(query, {"recipe": scope.recipe, "batch": scope.batch}).rows
        return {(key, content_hash): stalls for key, content_hash, stalls in rows}

    def forget_suspects(self, recipe: RecipeId, batch: BatchId, keys: Iterable[str]) -> None:
        """Suspect ``keys`` of the batch no longer."""
        query = f"""?[{", ".join(SUSPECT.key)}] := {unpack(["key"])}, recipe = $recipe, batch = $batch,
            *dobby_suspect{{recipe, batch, source, key, content_hash}} {SUSPECT.remove}"""
        params = {"rows": [[key] for key in keys], "recipe": recipe, "batch": batch}
        self._connection.run(query, params, write=True)

    def forget_batches(self, recipe: RecipeId, batches: Sequence[BatchId]) -> None:
        """Suspect no record of ``batches`` any longer."""
        if batches:
            query = f"""?[{", ".join(SUSPECT.key)}] := batch in $batches, recipe = $recipe,
                *dobby_suspect{{recipe, batch, source, key, content_hash}} {SUSPECT.remove}"""
            self._connection.run(query, {"batches": list(batches), "recipe": recipe}, write=True)

    def record(self, run: RunId, kind: StallKind, seconds: float) -> Stall:
        """Record that ``run`` stalled, and return its claims to pending; its process must be dead.

        The records that it had in progress become suspects. One that was alone fails instead of returning to pending.

        Args:
            run: The run.
            kind: Which deadline it missed.
            seconds: How long it had made no progress.
        """
        claims = self._claims(run)
        started = [(row["batch"], row["recipe"]) for row in claims] or self._started(run)
        batches, recipe = sorted({batch for batch, _ in started}), started[0][1] if started else NO_RECIPE
        known = {batch: self.suspects(Scope(recipe, batch)) for batch in batches}
        for row in claims:
            row["stalls"] = known[row["batch"]].get((row["key"], row["content_hash"]), 0) + 1
        stall = Stall(run, recipe, batches, time.time(), kind, seconds, sorted(row["key"] for row in claims))
        alone = claims if len(claims) == 1 else []
        blocks = [
            f"""{{ ?[source, key, content_hash] := {unpack(["source", "key", "content_hash", "recipe", "owner"], "alone")},
                *dobby_state{{source, key, content_hash, recipe, owner, state: s @ 'END'}}, s == 'in_progress'
            :create _held {{source, key, content_hash}} }}""",
            STATE.put("failed", "*_held{source, key, content_hash}"),
            SUSPECT.put("suspects"),
            f"""{{ ?[place, state, code, inferred, confidence] := *_held{{key: place}}, state = '{State.FAILED}', code = '{StalledError.code}',
                inferred = 0, confidence = null
            :create _ended {{place => state, code, inferred, confidence}} }}""",
            add(f"*{STALL.name}{{run: $run, recipe: $recipe, at: $at}}"),
            STALL.put("stalls"),
        ]
        params = {
            "alone": [[row[name] for name in ("source", "key", "content_hash", "recipe", "owner")] for row in alone],
            "failed": [_failed(row, stall) for row in alone],
            "suspects": [[row[name] for name in SUSPECT.columns] for row in claims],
            "stalls": [[getattr(stall, name) for name in STALL.columns]],
            "addends": [["stalls", kind.value, 1]],
            "run": run,
            "recipe": recipe,
            "at": stall.at,
        }
        self._connection.run(script(blocks), params, write=True)
        for owner in self._held.owners():
            if owner.scope.run == run:
                self._held.release(owner.owner, owner.scope)
        return stall

    def _claims(self, run: RunId) -> list[dict[str, Any]]:
        """The records that ``run`` has in progress, with their owner."""
        query = """?[owner, batch, recipe, source, key, content_hash, priority, size, retry_count] :=
            *dobby_owner{owner, batch, recipe, run}, run == $run,
            *dobby_member{batch, source, key, content_hash, priority, size},
            *dobby_state{source, key, content_hash, recipe, owner, state, retry_count @ 'END'}, state == 'in_progress'"""
        return list(self._connection.run(query, {"run": run}).dicts())

    def _started(self, run: RunId) -> list[tuple[BatchId, RecipeId]]:
        """The batches that ``run`` was started for, each with the recipe."""
        query = "?[batch, recipe] := *dobby_attempt{batch, recipe, run}, run == $run"
        return [(batch, recipe) for batch, recipe in self._connection.run(query, {"run": run}).rows]


def _failed(claim: dict[str, Any], stall: Stall) -> list[Any]:
    """The state of a record that was alone: its attempts are those that failed, or the stalls that it was in."""
    version = RecordVersion(*(claim[name] for name in ("source", "key", "content_hash", "priority", "size")))
    error = StalledError(f"the run stalled at this record: no {stall.kind.missing} for {stall.seconds:.0f} s")
    state = ProcessingState.failed(error, max(claim["retry_count"] + 1, claim["stalls"]))
    return state_row(version, state, Scope(claim["recipe"], claim["batch"], stall.run))


def _stall(row: dict[str, Any]) -> Stall:
    return Stall(**{**row, "kind": StallKind(row["kind"])})
