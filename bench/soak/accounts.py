"""What a system did, by its own audit trail: what was started more than once, and why; what chunks and states count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from dobby_dagster.domain.errors import ChangedBackError
from dobby_dagster.domain.owner import pid_of

_STATES = """?[key, hash, recipe, at, state, owner, reason, code] := *dobby_state{source: 'record', key,
    content_hash: hash, recipe, at: t, state, owner, reason, error_code: code}, at = to_int(t)
    :order recipe, key, hash, at"""
_CHUNKS = """?[recipe, at, inferred, ended] := *dobby_chunk{chunk, recipe, finished_at: at, inferred, completed, failed,
    skipped}, ended = completed + failed + skipped
    :order at"""
_TOTAL = "?[sum(value)] := *dobby_total{name: 'records', label, value}"
_FINGERPRINTS = "?[recipe, count_unique(print)] := *dobby_summary{source: 'record', key, fingerprint: print, recipe}"
ENDED = ("completed", "failed", "skipped")


@dataclass
class Accounts:
    """What the trail says, over all recipes.

    Attributes:
        started: Records that were started, each time that they were.
        restarted: By why: their process was killed by this harness, they failed and were retried, or none of it.
        restarted_by_kill: The same for each killed process, by pid.
        inferred: Inferences that were committed.
        fingerprints: Distinct fingerprints that have a summary.
        superseded: Inferred while the record was edited, so that no summary was stored.
        ended: States that say how a record ended.
        chunked: The same, as the chunks count it.
        total: The same, as the counter that metrics are made of has it.
        chunks: When each chunk was committed (seconds since the epoch), and how many records it had.
        violations: One line each.
    """

    started: int = 0
    restarted: Counter[str] = field(default_factory=Counter)
    restarted_by_kill: Counter[int] = field(default_factory=Counter)
    inferred: int = 0
    fingerprints: int = 0
    superseded: int = 0
    ended: int = 0
    chunked: int = 0
    total: int = 0
    chunks: list[tuple[float, int]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def accounts(client: Any, killed: Collection[int]) -> Accounts:
    """Read the trail by a plain client; ``killed`` are the processes that were killed."""
    found = Accounts()
    for (recipe, key, _), rows in groupby(client.run(_STATES)["rows"], lambda row: (row[2], row[0], row[1])):
        _follow(found, f"{key} (recipe {recipe[:8]})", [row[4:] for row in rows], killed)
    chunks = client.run(_CHUNKS)["rows"]
    found.chunks = [(at, ended) for _, at, _, ended in chunks]
    found.inferred = sum(inferred for _, _, inferred, _ in chunks)
    found.chunked = sum(ended for *_, ended in chunks)
    found.fingerprints = sum(count for _, count in client.run(_FINGERPRINTS)["rows"])
    if unexplained := found.restarted["unexplained"]:
        found.violations.append(f"{unexplained} records were started again, and no process of theirs was killed")
    found.total = sum(int(value) for (value,) in client.run(_TOTAL)["rows"])
    if not found.total == found.chunked == found.ended:
        found.violations.append(
            f"chunks count {found.chunked} ended records, states {found.ended}, the counter {found.total}"
        )
    doubled = found.inferred - found.fingerprints - found.superseded
    if doubled > 0:
        found.violations.append(f"{doubled} inferences were committed for a fingerprint that has a summary")
    return found


def _follow(found: Accounts, name: str, states: list[list[str]], killed: Collection[int]) -> None:
    """One version of a record under one recipe, from state to state."""
    before, owner, outcome, completed = "", "", "", False
    for state, holder, reason, code in states:
        if state == "in_progress":
            found.started += 1
            if completed:
                found.violations.append(f"{name} was started again after it was completed")
            if owner:
                why = _reason(outcome, owner, killed)
                found.restarted[why] += 1
                found.restarted_by_kill[pid_of(owner)] += why == "killed"
            owner = holder
        elif before == "in_progress":
            outcome = state
        if state in ENDED:
            found.ended += code != ChangedBackError.code
            found.superseded += before == "in_progress" and reason == "superseded"
        completed |= state == "completed"
        before = state


def _reason(outcome: str, owner: str, killed: Collection[int]) -> str:
    """Why a record is started again whose last start by ``owner`` had this outcome."""
    why = {"failed": "failed", "skipped": "changed back"}.get(outcome)
    return why or ("killed" if pid_of(owner) in killed else "unexplained")
