"""The schema: from every earlier version to the latest, and what stands in the way."""

from pathlib import Path

import pytest

from dobby_dagster.domain.errors import SchemaError
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import connect, cozo_client
from dobby_dagster.store.ledger.schema import LATEST, migrate, relations, schema_version, set_meta


@pytest.mark.parametrize("version", range(LATEST))
def test_each_earlier_version_becomes_the_latest_and_keeps_its_rows(sqlite_url: str, version: int) -> None:
    connection = connect(DatabaseSettings(url=sqlite_url))
    migrate(connection, version)
    assert schema_version(connection) == version
    if version:
        connection.run("?[key, content] <- [['k', 'kept']] :put record {key => content}", write=True)
    assert migrate(connection) == version
    assert schema_version(connection) == LATEST
    store = CozoStore(connection)
    expected = {"k": "kept"} if version else {}
    found = store.source(SourceSettings()).get(["k"])
    assert {key: record.content for key, record in found.items()} == expected


def test_confidences_of_servers_that_told_none_become_unknown(sqlite_url: str) -> None:
    connection = connect(DatabaseSettings(url=sqlite_url))
    migrate(connection, 2)
    told, untold = [0.9, -0.1, -0.3, 9, 5], [0.0, 0.0, 0.0, 0, 0]
    measured = ["confidence", "mean_logprob", "min_logprob", "prompt_tokens", "output_tokens"]
    others = ["content_hash", "text", "finish_reason", "truncated", "model", "prompt", "recipe", "batch", "run"]
    rest = ["h", "A text.", "stop", True, "m", "p", "r", "b", "run"]
    keys, values = ["source", "key", "fingerprint"], [*others, "inference_seconds", "created_at", *measured]
    rows = [["s", key, f"f{key}", *rest, 0.5, 1.5, *numbers] for key, numbers in (("a", told), ("b", untold))]
    names = f"{{{', '.join(keys)} => {', '.join(values)}}}"
    connection.run(f"?[{', '.join(keys + values)}] <- $rows :put dobby_summary {names}", {"rows": rows}, write=True)
    store = CozoStore(connection)
    found = store.chunks.find(["fa", "fb"])
    assert [found["fa"][name] for name in measured] == told
    assert [found["fb"][name] for name in measured] == [None] * 5
    assert [found["fb"][name] for name in (*others, "inference_seconds", "created_at")] == [*rest, 0.5, 1.5]


def test_migrating_again_changes_nothing(sqlite_url: str) -> None:
    connection = connect(DatabaseSettings(url=sqlite_url))
    migrate(connection)
    before = relations(connection)
    assert migrate(connection) == LATEST
    assert relations(connection) == before


def test_a_migration_that_was_cut_short_goes_on(sqlite_url: str) -> None:
    with cozo_client(sqlite_url) as db:
        db.run(":create dobby_meta {name: String => value: Json}")
        db.run(":create dobby_batch {batch: String => source: String, members: Int, created_at: Float}")
    store = CozoStore.open(DatabaseSettings(url=sqlite_url))
    assert store.health().schema_version == LATEST


def test_a_newer_database_is_refused(sqlite_url: str) -> None:
    connection = CozoStore.open(DatabaseSettings(url=sqlite_url)).connection
    set_meta(connection, "schema_version", LATEST + 1)
    with pytest.raises(SchemaError, match="upgrade dobby-dagster"):
        CozoStore.open(DatabaseSettings(url=sqlite_url))


def test_somebody_elses_relation_record_is_not_touched(sqlite_url: str, tmp_path: Path) -> None:
    with cozo_client(sqlite_url) as db:
        db.run("?[id, body] <- [[1, 'x']] :create record {id => body}")
    with pytest.raises(SchemaError, match="a relation 'record' of its own, with columns body, id"):
        CozoStore.open(DatabaseSettings(url=sqlite_url))
    with cozo_client(sqlite_url) as db:
        assert db.run("?[id, body] := *record{id, body}")["rows"] == [[1, "x"]]
        assert {row[0] for row in db.run("::relations")["rows"]} == {"record"}
