"""A fault at each operation of the store in turn: what is stored holds together, and the next run finishes the work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import StoreError, StoreFaultError
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.states import State
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import cozo_client
from dobby_dagster.store.database.connection import Params, Result
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
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

    url = f"sqlite:///{tmp_path}/t.db"
    life(CozoStore.open(DatabaseSettings(url=url)))
    assert verify(tmp_path / "t.db", settled=True) == []
    relation, keys = harm.split(" ", 2)[1], harm[harm.index("{") + 1 : -1]
    with cozo_client(url) as db:
        where = ", key == 'k0'" if "key" in keys else ""
        db.run(f"?[{keys}] := *{relation}{{{keys}}}{where} {harm}")
    assert any(found in line for line in verify(tmp_path / "t.db", settled=True))


def test_a_commit_whose_answer_is_lost_blames_no_record(
    sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, batch, members = batch_of(sqlite_store, {"a": "1", "b": "2"})
    outcomes = [done(member, member.version.key, batch) for member in members]
    run = sqlite_store.connection.run

    def broken(script: str, params: Params | None = None, *, write: bool = False) -> Result:
        run(script, params, write=write)
        raise StoreFaultError("an answer that can't be read")

    monkeypatch.setattr(sqlite_store.connection, "run", broken)
    with pytest.raises(StoreFaultError):
        commit(sqlite_store, source, batch, outcomes)
    monkeypatch.undo()
    states = [member.state.state for member in sqlite_store.states.members(Scope(R, batch)) if member.state]
    assert State.FAILED not in states


def test_a_panic_is_told_from_a_refusal(sqlite_store: CozoStore) -> None:
    with pytest.raises(StoreFaultError, match="CozoDB panicked"):
        sqlite_store.connection.run("?[key] := *record{key}, not *dobby_version{key @ 'END'}")
    with pytest.raises(StoreError) as refused:
        sqlite_store.connection.run("?[x] := nonsense")
    assert type(refused.value) is StoreError
