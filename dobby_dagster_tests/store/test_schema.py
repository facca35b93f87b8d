"""The schema: from every earlier version to the latest, and what stands in the way."""

from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.domain.errors import SchemaError
from dobby_dagster.domain.remembered import value_of
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.cozoscript.relation import Relation
from dobby_dagster.store.database.connect import connect, cozo_client
from dobby_dagster.store.ledger import relations as named
from dobby_dagster.store.ledger.migrations import give_requests_a_column
from dobby_dagster.store.ledger.relations import ATTEMPT
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


def test_zero_confidences_of_servers_become_unknown(sqlite_url: str) -> None:
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


USED = ["r", "summary@1", "", "dobby-code-11m", "0", {}, 1.0]
FORMER = {"model.path": "dobby-code-11m", "model.quantization": "none", "inference.second_try": "never"}


@pytest.mark.parametrize(
    ("memory", "named"),
    [
        (None, {}),
        ({"relation": "code"}, {}),
        ({"in_use": {"prompt.id": "mine"}}, {"prompt.id": "mine"}),
        ({"in_use": {"model.path": "dobby-code-73m"}}, {"model.path": "dobby-code-73m"}),
        ({"in_use": {"model.quantization": "int8"}}, {"model.quantization": "int8"}),
    ],
)
def test_a_database_keeps_the_defaults_that_its_summaries_were_made_with(
    sqlite_url: str, memory: dict[str, Any] | None, named: dict[str, str]
) -> None:
    connection = connect(DatabaseSettings(url=sqlite_url))
    migrate(connection, 9)
    if memory is not None:
        set_meta(connection, "in_use", memory)
    columns = "recipe, prompt, prompt_text, model, model_revision, settings, used_at"
    connection.run(f"?[{columns}] <- $rows :put dobby_recipe {{{columns}}}", {"rows": [USED]}, write=True)
    store = CozoStore(connection)
    migrate(connection)
    assert store.memory == {**(memory or {}), "in_use": FORMER | named}
    settings = load_settings(environment={}, memory=store.memory).settings
    assert {name: value_of(settings, name) for name in FORMER} == {name: (FORMER | named)[name] for name in FORMER}


@pytest.mark.parametrize("memory", [None, {"relation": "code"}])
def test_a_database_without_summaries_takes_the_new_defaults(sqlite_url: str, memory: dict[str, Any] | None) -> None:
    connection = connect(DatabaseSettings(url=sqlite_url))
    migrate(connection, 9)
    if memory is not None:
        set_meta(connection, "in_use", memory)
    migrate(connection)
    assert CozoStore(connection).memory == (memory or {})


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


def test_another_programs_relation_record_is_not_touched(sqlite_url: str, tmp_path: Path) -> None:
    with cozo_client(sqlite_url) as db:
        db.run("?[id, body] <- [[1, 'x']] :create record {id => body}")
    with pytest.raises(SchemaError, match="a relation 'record' of its own, with columns body, id"):
        CozoStore.open(DatabaseSettings(url=sqlite_url))
    with cozo_client(sqlite_url) as db:
        assert db.run("?[id, body] := *record{id, body}")["rows"] == [[1, "x"]]
        assert {row[0] for row in db.run("::relations")["rows"]} == {"record"}


def test_the_relations_after_all_migrations_are_those_that_the_code_names(sqlite_url: str) -> None:
    connection = connect(DatabaseSettings(url=sqlite_url))
    migrate(connection)
    expected = [value for value in vars(named).values() if isinstance(value, Relation)]
    assert {name for name in relations(connection) if ":" not in name} == {relation.name for relation in expected}
    for relation in expected:
        columns = connection.run(f"::columns {relation.name}").rows
        assert {row[0]: row[3] for row in columns} == relation.types, relation.name
        assert [row[0] for row in columns if row[1]] == relation.key, relation.name


def test_a_request_for_a_run_becomes_one_without_a_run(sqlite_url: str) -> None:
    connection = connect(DatabaseSettings(url=sqlite_url))
    migrate(connection, 3)
    rows = [["b1", "r", "asked", 1.5], ["b1", "r", "run-1", 2.5]]
    put = "?[batch, recipe, run, begun_at] <- $rows :put dobby_attempt {batch, recipe, run => begun_at}"
    connection.run(put, {"rows": rows}, write=True)
    migrate(connection)
    found = connection.run(f"{ATTEMPT.head} := {ATTEMPT.stored}").rows
    assert found == [["b1", "r", "", True, 1.5], ["b1", "r", "run-1", False, 2.5]]
    for script in give_requests_a_column():
        connection.run(script, write=True)
    assert connection.run(f"{ATTEMPT.head} := {ATTEMPT.stored}").rows == found, "cut short, it runs again"
