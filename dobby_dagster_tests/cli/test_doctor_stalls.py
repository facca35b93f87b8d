"""What doctor says of runs that make no progress, of those that were ended, and of records that stalled them."""

import os
import re
import time
from dataclasses import astuple

from dobby_dagster.cli.database_checks import database_checks
from dobby_dagster.cli.finding import Finding
from dobby_dagster.domain.owner import new_owner, retire
from dobby_dagster.domain.records import RecordVersion, content_hash
from dobby_dagster.domain.scope import RunId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.stall import StallKind
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.ledger import source_with
from dobby_dagster_tests.helpers.pipeline_run import RECIPE
from dobby_dagster_tests.helpers.world import Make


def findings(settings: Settings) -> dict[str, Finding]:
    return {finding.name: finding for finding in database_checks(settings, lambda *words: " ".join(["dobby", *words]))}


def test_doctor_names_a_stalled_run_its_end_and_what_is_quarantined(
    sqlite_store: CozoStore, make_settings: Make
) -> None:
    store, settings = sqlite_store, make_settings(pipeline__stall_seconds=0.02)
    source = source_with(store, {"culprit": "1"})
    store.versions.note(source, [RecordVersion("record", "culprit", content_hash("1"), 0, 1)], [])
    batch = store.versions.cut_batch("record", 10)
    assert batch is not None
    store.recipes.remember(RECIPE)
    scope = Scope(RECIPE.id, batch.id, RunId("0123456789abcdef"))
    assert {"stalled", "stalls", "quarantine"} & findings(settings).keys() == set()
    for _ in range(3):
        owner = new_owner()
        store.claims.claim(store.states.members(scope), owner, scope)
        time.sleep(0.05)
        found = findings(settings)
        name, ok, detail, remedy = astuple(found["stalled"])
        assert (name, ok, remedy) == ("stalled", False, f"kill -9 {os.getpid()}, then dobby recover")
        assert re.fullmatch(r"run 01234567 of batch-000001 has made no progress for \d+ s", detail)
        assert ("quarantine" in found) is False
        retire(owner)
        store.stalls.record(scope.run, StallKind.INFERENCE, 600.0)
    found = findings(settings)
    assert "stalled" not in found
    assert found["stalls"].ok
    assert found["stalls"].message == (
        "1 run was ended in the last day, of batch-000001; the last after 600 s without a token"
    )
    assert found["quarantine"].message == "1 record; those that stalled a run: culprit"
