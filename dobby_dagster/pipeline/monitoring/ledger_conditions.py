"""The conditions that the ledger shows: stalls, broken contracts, quarantine, a confidence that fell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.errors import Severity
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import BatchId, RecipeId, RunId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.pipeline.monitoring.conditions import Condition, Kind
from dobby_dagster.pipeline.monitoring.confidence_drift import FEWEST, SAMPLE, Drift, drift_of_pairs, drift_of_samples
from dobby_dagster.pipeline.monitoring.contract_results import broken_contracts
from dobby_dagster.pipeline.monitoring.remedy_command import remedy_command
from dobby_dagster.pipeline.monitoring.stalls import stalled_runs
from dobby_dagster.store.cozo_store import CozoStore

# A stalled run whose batches make no progress afterwards is an alert for this long.
STALL_DAYS = 7
# Records in quarantine are counted page by page, so that runs can commit in between, and for so long.
BATCHES_OF_A_PAGE, QUARANTINE_SECONDS = 10, 15.0
# Summaries are compared in at most this many batches of a recipe.
MOST_BATCHES = 20


def stalls(settings: Settings, store: CozoStore, home: Path) -> Iterator[Condition]:
    """Runs that make no progress, and runs that were ended for it whose batches have made none since."""
    remedy = remedy_command(settings, "doctor", home=home)
    for run in stalled_runs(store, settings):
        yield Condition(
            Kind.STALL,
            run.run,
            f"run {run.run[:8]} has made no progress for {run.seconds:.0f} s",
            "Its process is alive, and is ended automatically; if it stays, end it by hand.",
            Severity.ERROR,
            remedy,
            tuple(run.batches),
            (run.run,),
        )
    for stall in store.stalls.recent(time.time() - STALL_DAYS * 86_400):
        if not any(_committed_after(store, Scope(stall.recipe, batch, RunId("")), stall.at) for batch in stall.batches):
            keys = f"; in progress: {', '.join(stall.keys[:5])}" if stall.keys else ""
            yield Condition(
                Kind.STALL,
                stall.run,
                f"run {stall.run[:8]} was ended: no {stall.kind.missing} for {stall.seconds:.0f} s",
                f"Its records are tried again automatically; one that stalls every run is quarantined{keys}.",
                Severity.ERROR,
                remedy,
                tuple(stall.batches),
                (stall.run,),
            )


def _committed_after(store: CozoStore, scope: Scope, at: float) -> bool:
    return any(chunk["finished_at"] > at for chunk in store.batch_reports.chunks(scope))


def contracts(settings: Settings, store: CozoStore) -> Iterator[Condition]:
    """The performance contracts that the last batches break."""
    for result in broken_contracts(store, settings):
        yield Condition(
            Kind.CONTRACT,
            f"{result.contract.name}, {result.group}",
            str(result),
            f"{result.contract.meaning}; the median of the last batches. The limit can be set in [contracts].",
            Severity.WARNING,
            remedy_command(settings, "failed list" if result.contract.measure == "error_rate" else "doctor"),
            result.batches,
        )


def quarantine(settings: Settings, store: CozoStore) -> Iterator[Condition]:
    """Records that are not tried again until a person releases them."""
    recipe, relation = store.recipes.latest(), settings.source.relation
    if recipe is None:
        return
    deadline, batches = time.monotonic() + QUARANTINE_SECONDS, dict[BatchId, int]()
    known = [batch.id for batch in store.versions.batches(relation)]
    for first in range(0, len(known), BATCHES_OF_A_PAGE):
        page = known[first : first + BATCHES_OF_A_PAGE]
        batches |= store.states.quarantined(recipe, settings.pipeline.max_retries, page)
        if time.monotonic() > deadline:
            raise TimeoutError(f"counting the records in quarantine takes longer than {QUARANTINE_SECONDS:g} s")
    records = sum(batches.values())
    if records:
        yield Condition(
            Kind.QUARANTINE,
            relation,
            f"{counted(records, 'record')} of '{relation}' in quarantine",
            "What is in quarantine is not tried again until it is released, with dobby failed release. "
            "This is sent again when more follow.",
            Severity.WARNING,
            remedy_command(settings, "failed list"),
            tuple(sorted(batches)),
            level=records,
        )


def confidence(settings: Settings, store: CozoStore) -> Iterator[Condition]:
    """The confidence fell with the last change of model, prompt or settings to ones that are new here.

    After a redo the former ones are in use again: what was redone is what they were least sure of.
    """
    limit, relation = settings.automation.alert_confidence_fall, settings.source.relation
    used = store.recipes.all()[:2]
    if not limit or len(used) < 2:
        return
    now, before = (RecipeId(recipe["recipe"]) for recipe in used)
    began = store.recipes.began()
    if now not in began or before not in began or began[now] < began[before]:
        return
    found = _drift(store, relation, before, now, limit)
    if found is not None:
        yield Condition(
            Kind.CONFIDENCE,
            f"{before}-{now}",
            f"the mean confidence fell from {shown_confidence(found.before)} to {shown_confidence(found.now)}"
            " with the change of model or prompt",
            f"Compared are the first summaries by {used[0]['model']} with {used[0]['prompt']} and those by "
            f"{used[1]['model']} with {used[1]['prompt']}, of the same contents where there are enough. "
            "It is over when another model or prompt is in use.",
            Severity.WARNING,
            remedy_command(settings, "export --unsure"),
        )


def _drift(store: CozoStore, relation: str, before: RecipeId, now: RecipeId, limit: float) -> Drift | None:
    """The fall on the same contents, where enough have both summaries; else on the first of each recipe."""
    fresh = _confidences(store, relation, now, of=now)
    former = _confidences(store, relation, before, of=now)
    pairs = [(former[key], fresh[key]) for key in fresh.keys() & former.keys()]
    if len(pairs) >= FEWEST:
        return drift_of_pairs(pairs, limit)
    others = _confidences(store, relation, before, of=before)
    return drift_of_samples(list(others.values()), list(fresh.values()), limit)


def _confidences(store: CozoStore, relation: str, recipe: RecipeId, of: RecipeId) -> dict[str, float]:
    """By key, the known confidences under ``recipe`` in the first batches that were processed under ``of``."""
    found: dict[str, float] = {}
    for batch in store.batch_reports.first_batches(relation, of, MOST_BATCHES):
        if len(found) >= SAMPLE:
            break
        rows = store.batch_reports.outputs(Scope(recipe, batch))
        found |= {row["key"]: row["confidence"] for row in rows if row["confidence"] is not None}
    return found
