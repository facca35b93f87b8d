"""The check of a database: what is damaged or missing is found, what is sound passes."""

import random
import sqlite3
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.maintenance.integrity import read_everything
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import run
from dobby_dagster_tests.helpers.records import put


@pytest.fixture
def filled(sqlite_store: CozoStore) -> CozoStore:
    put(sqlite_store, {f"k{i}": f"word{i} of a function" for i in range(60)})
    run(sqlite_store, FakeEngine(), 10)
    return sqlite_store


def test_values_of_every_type_are_sound(store: CozoStore) -> None:
    connection = store.connection
    connection.run(
        ":create mine {k: Any?, n: Int? => a: Any?, s: String, i: Int, f: Float, b: Bool, y: Bytes, u: Uuid, l: [Int?],"
        " v: <F32; 2>, j: Json, at: Validity default 'ASSERT'}",
        write=True,
    )
    connection.run("::index create mine:by_s {s}", write=True)
    for key, number, json in (
        ("'a'", 1, "{}"),
        ("null", "null", "null"),
        ("[1, 'x']", -1, "'text'"),
        ("true", 2, "1.5"),
    ):
        connection.run(
            f"?[k, n, a, s, i, f, b, y, u, l, v, j] := k = {key}, n = {number}, a = k, s = '', i = 1, f = 2, b = false,"
            f" y = decode_base64('aGk='), u = rand_uuid_v4(), l = [1, null], v = [1, 2], j = json({json})"
            " :put mine {k, n => a, s, i, f, b, y, u, l, v, j}",
            write=True,
        )
    reading = read_everything(connection)
    assert reading.problems == []
    assert (reading.rows["mine"], reading.rows["mine:by_s"]) == (4, 4)
    assert store.check() == []


def test_flipped_bytes_that_cozo_can_not_read_are_found(filled: CozoStore, tmp_path: Path) -> None:
    """SQLite's own check accepts a changed value; the check has to find every value that CozoDB can't read."""
    file = tmp_path / "records.db"
    good = file.read_bytes()
    whole = read_everything(filled.connection).rows
    with sqlite3.connect(file) as database:
        stored = database.execute("select k, v from cozo order by k").fetchall()
    silent = 0
    for seed in range(40):
        rng, data = random.Random(seed), bytearray(good)
        for _ in range(5):
            data[rng.randrange(4_096, len(data))] = rng.randrange(256)
        file.write_bytes(data)
        try:
            found = CozoStore.open(DatabaseSettings(url=f"sqlite:///{file}")).check()
        except DobbyError:
            continue
        if found:
            continue
        silent += 1
        with sqlite3.connect(file) as database:
            again = database.execute("select k, v from cozo order by k").fetchall()
        assert [key for key, _ in again] == [key for key, _ in stored], f"seed {seed}: a key was lost"
        assert read_everything(filled.connection).rows == whole, f"seed {seed}: a row was lost"
    assert silent < 20, "most of what was flipped is found"


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        ("?[batch, position] := batch = 'batch-000001', position = 3 :rm dobby_member {batch, position}",
         "1 violation of: batches have all their members, such as batch-000001 in 20"),
        ("?[batch, position] := *dobby_member{batch, position}, batch == 'batch-000001' :rm dobby_member {batch, position}",
         "1 violation of: batches have all their members, such as batch-000001 in 20"),
        ("?[batch] <- [['batch-000002']] :rm dobby_batch {batch}", "1 violation of: batches have all their members, such as batch-000002 in 20"),
        ("?[source, key, at] := *dobby_version{source, key, at}, key == 'k7' :rm dobby_version {source, key, at}",
         "1 violation of: members of batches have been seen, such as k7 in batch-000003"),
    ],
)  # fmt: skip
def test_rows_that_the_ledger_knows_of_and_that_are_gone_are_found(filled: CozoStore, loss: str, found: str) -> None:
    assert filled.check() == []
    filled.connection.run(loss, write=True)
    assert filled.check() == [found]


def test_an_index_that_lacks_a_row_is_found(filled: CozoStore, tmp_path: Path) -> None:
    [[fingerprint]] = filled.connection.run("?[f] := *dobby_summary:by_fingerprint{fingerprint: f} :limit 1").rows
    start = fingerprint[:8].encode()
    with sqlite3.connect(tmp_path / "records.db") as database:
        keys = [key for (key,) in database.execute("select k from cozo") if start in key]
        database.execute("delete from cozo where k = ?", [min(keys, key=lambda key: key.index(start))])
    assert filled.check() == ["index dobby_summary:by_fingerprint has 59 rows, its relation 60"]


def test_a_database_without_dobbys_schema_is_checked_too(tmp_path: Path) -> None:
    from dobby_dagster.store.database.connect import connect

    connection = connect(DatabaseSettings(url=f"sqlite:///{tmp_path}/plain.db"))
    connection.run("?[k, v] <- [[1, 2]] :create t {k => v}", write=True)
    assert read_everything(connection).rows == {"t": 1}
