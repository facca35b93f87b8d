"""A fault at each operation of the store in turn: what is stored holds together, and the next run finishes the work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dobby_dagster.store.connect import cozo_client

ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("engine", "stride"), [("sqlite", 1), ("http", 12)])
def test_the_invariants_hold_after_a_fault_at_the_nth_operation(engine: str, stride: int) -> None:
    command = [sys.executable, "-m", "bench", "faults", "--every", str(stride), "--engine", engine]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    rows = json.loads(done.stdout.splitlines()[-1])
    assert {row["fault"] for row in rows} == {"error", "time-out", "panic", "kill"}
    assert sum(row["rounds"] for row in rows) > 90 / stride
    assert sum(row["killed"] for row in rows if row["fault"] == "kill") > 0
    assert sum(row["violations"] for row in rows) == 0


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (":rm dobby_summary {source, key, fingerprint}", "k0 is completed with 0 summaries"),
        (":rm dobby_member {batch, position}", "0 members, 3 were put in"),
        (":rm dobby_state {source, key, content_hash, recipe, at}", "k0 is None"),
    ],
)
def test_the_verifier_sees_what_is_missing(tmp_path: Path, harm: str, found: str) -> None:
    from bench.faults import life
    from bench.verifier import verify
    from dobby_dagster.domain.settings import DatabaseSettings
    from dobby_dagster.store.store import CozoStore

    url = f"sqlite:///{tmp_path}/t.db"
    life(CozoStore.open(DatabaseSettings(url=url)))
    assert verify(tmp_path / "t.db", settled=True) == []
    relation, keys = harm.split(" ", 2)[1], harm[harm.index("{") + 1 : -1]
    with cozo_client(url) as db:
        where = ", key == 'k0'" if "key" in keys else ""
        db.run(f"?[{keys}] := *{relation}{{{keys}}}{where} {harm}")
    assert any(found in line for line in verify(tmp_path / "t.db", settled=True))
