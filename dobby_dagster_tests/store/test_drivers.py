"""CozoDB and its fork mnestic: each reads what the other wrote, and none opens the other's database unasked."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import SchemaError, SettingsError, StoreFaultError
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import cozo_client
from dobby_dagster.store.database.drivers import Driver, package_of
from dobby_dagster.store.maintenance.backup_file import restore
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.ledger import R, batch_of, commit, done
from dobby_dagster_tests.helpers.records import put

ENGINES = ("sqlite", "rocksdb")
OTHER: dict[Driver, Driver] = {"cozo": "mnestic", "mnestic": "cozo"}


@pytest.fixture(autouse=True)
def _needs_mnestic() -> None:
    pytest.importorskip("mnestic", reason="the package mnestic is not installed")


def settings(folder: Path, engine: str, driver: Driver, name: str = "records.db") -> DatabaseSettings:
    return DatabaseSettings(url=f"{engine}:///{folder}/{name}", driver=driver)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("driver", OTHER)
def test_a_database_is_taken_over_by_backup_and_restore(tmp_path: Path, engine: str, driver: Driver) -> None:
    here, there = settings(tmp_path, engine, driver), settings(tmp_path, engine, OTHER[driver], "new.db")
    store = CozoStore.open(here)
    source, batch, members = batch_of(store, {"a": "one", "b": "two"})
    plan(store, source, 10)
    commit(store, source, batch, [done(members[0], "one", batch)])
    with pytest.raises(
        SchemaError, match=f"was written by {driver}, and database.driver is '{OTHER[driver]}'"
    ) as caught:
        CozoStore.open(here.model_copy(update={"driver": OTHER[driver]}))
    assert "dobby backup" in str(caught.value.hint)
    store.backup(tmp_path / "copy")
    restore(there, tmp_path / "copy")
    taken = CozoStore.open(there)
    assert taken.check() == []
    assert taken.reports.status("record", R) == store.reports.status("record", R)
    assert taken.states.counts(Scope(R, batch)) == store.states.counts(Scope(R, batch))
    # Its triggers work: a change is noticed, and what waits is counted.
    put(taken, {"a": "edited", "c": "three"})
    noticed = plan(taken, taken.source(source.settings), 10)
    assert (noticed.new, noticed.changed) == (1, 1)
    assert taken.versions.waiting("record") == 0
    assert taken.health().driver == package_of(OTHER[driver])


def test_a_database_that_no_driver_has_signed_is_cozos(tmp_path: Path) -> None:
    old = settings(tmp_path, "sqlite", "cozo")
    CozoStore.open(old).connection.run("?[name] <- [['driver']] :rm dobby_meta {name}", write=True)
    with pytest.raises(SchemaError, match="was written by cozo"):
        CozoStore.open(settings(tmp_path, "sqlite", "mnestic"))
    CozoStore.open(old)


def test_a_driver_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dobby_dagster.store.database.drivers.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="needs the package mnestic, which is not installed") as caught:
        CozoStore.open(settings(tmp_path, "sqlite", "mnestic"))
    assert caught.value.hint == "pip install 'dobby-dagster[mnestic]'"


def test_a_query_ends_after_its_time(tmp_path: Path) -> None:
    store = CozoStore.open(DatabaseSettings(url="mem://slow", driver="mnestic", timeout_seconds=0.2))
    slow = "a[x] := x in int_range(3000) ?[count(x)] := a[x], a[y], x + y == 1"
    with pytest.raises(StoreFaultError, match=r"took longer than 0\.2 s") as caught:
        store.connection.run(slow)
    assert "database.timeout_seconds" in str(caught.value.hint)
    assert store.health().schema_version


@pytest.mark.parametrize("literal", ["true :limit 1", "true\n:limit 1", "if(1 == 1, true , false )"])
@pytest.mark.parametrize("driver", OTHER)
def test_a_literal_before_a_space_is_what_it_says(driver: Driver, literal: str) -> None:
    """By itself mnestic reads it as false."""
    store = CozoStore.open(DatabaseSettings(url="mem://literals", driver=driver))
    assert store.connection.run(f"?[x] := x = {literal}").rows == [[True]]


def test_doctor_names_the_driver(dobby: Dobby, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOBBY_DATABASE_DRIVER", "mnestic")
    url = f"sqlite:///{tmp_path}/records.db"
    CozoStore.open(settings(tmp_path, "sqlite", "mnestic"))
    assert f"by {package_of('mnestic')}" in dobby("doctor", "--database", url).out


WRITER = """
import sys
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.database.connect import connect
connection = connect(DatabaseSettings(url=sys.argv[1], driver=sys.argv[2]))
if not connection.run("::relations").rows:
    connection.run(":create t {n: Int => text: String}", write=True)
n = int(sys.argv[3])
while True:
    connection.run("?[n, text] := r in $rows, n = get(r, 0), text = get(r, 1) :put t {n => text}",
                   {"rows": [[n * 10 + i, "x" * 200] for i in range(10)]}, write=True)
    n += 1
    print(n - int(sys.argv[3]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, engine: str) -> None:
    made = settings(tmp_path, engine, "mnestic")
    written = 0
    for start in (0, 10_000, 20_000):
        command = [sys.executable, "-c", WRITER, made.url, made.driver, str(start)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(20):
                acknowledged = int(writer.stdout.readline())
            time.sleep(0.01)
            writer.send_signal(signal.SIGKILL)
            written += 10 * max([acknowledged, *map(int, writer.stdout.read().split())])
        with cozo_client(made.url, driver=made.driver) as db:
            [[rows]] = db.run("?[count(n)] := *t{n}")["rows"]
        assert rows >= written
        assert rows % 10 == 0, "a transaction is whole"
        written = rows


@pytest.mark.parametrize("driver", OTHER)
def test_strings_of_a_script_are_what_they_are(driver: Driver) -> None:
    script = (
        """# don't say true \n?[a, b, c] <- [['it is true that', "x, k == 'a', false y", ___"true x"___]] :limit 1"""
    )
    with cozo_client("mem://strings", driver=driver) as db:
        assert db.run(script)["rows"] == [["it is true that", "x, k == 'a', false y", "true x"]]
