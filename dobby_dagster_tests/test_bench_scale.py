"""The benchmark of scale: what it makes is what Dobby would have made, and its tables have the figures they name."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from bench.ledger_fill import fill
from bench.scale.command import main
from bench.scale.dagster_history import ASSETS, multiply
from bench.scale.doublings import doublings
from bench.scale.workers import over_workers
from dobby_dagster.domain.settings import Settings, SourceSettings
from dobby_dagster.inference.recipe import recipe_for
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore


def test_a_filled_ledger_keeps_every_invariant_and_has_nothing_to_do(
    sqlite_store: CozoStore, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings()
    fill(sqlite_store, settings, batches=30, members=4)
    assert sqlite_store.audit.examine() == []
    recipe = recipe_for(settings).id
    source = sqlite_store.source(SourceSettings())
    counts = sqlite_store.reports.overview(source, recipe)
    assert (counts["rows"], counts["completed"], counts["batches"], counts["unplanned"]) == (120, 120, 30, 0)
    assert sqlite_store.states.unfinished("record", recipe, 3) == {}
    assert plan(sqlite_store, source, 10).batches == []
    sqlite_store.connection.run("?[key, content] <- [['new', 'x']] :put record {key => content}", write=True)
    assert [batch.id for batch in plan(sqlite_store, source, 10).batches] == ["batch-000031"]


def test_a_multiplied_history_is_one_that_dagster_reads(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    days = dg.DynamicPartitionsDefinition(name="record_batches")

    def asset(name: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=days)
        def made() -> None: ...

        return made

    names = [f"batch-{number:06d}" for number in range(1, 41)]
    assets = [asset(name) for name in ASSETS]
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        instance.add_dynamic_partitions("record_batches", names[:1])
        dg.materialize(assets, partition_key=names[0], instance=instance)
    multiply(home, names[1:])
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        assert list(instance.get_dynamic_partitions("record_batches")) == names
        for name in ASSETS:
            assert instance.get_materialized_partitions(dg.AssetKey(name)) == set(names)
        assert instance.get_runs_count() == 1 + 3
    with closing(sqlite3.connect(home / "history" / "runs.db")) as database:
        [[runs]] = database.execute("SELECT count(DISTINCT run_id) FROM run_tags").fetchall()
    assert runs in (0, 4), "of each run its tags"


@pytest.mark.slow
def test_the_tables_have_what_they_name(tmp_path: Path) -> None:
    [row] = doublings("sqlite", 1_000, 250, tmp_path)
    assert row["records"] == 1_000
    assert 1_000 < row["ledger, bytes a record"] < 10_000
    [row] = over_workers("server", [2], [200.0], tmp_path, seconds=0.5)
    assert row["workers"] == 2
    assert 0 < row["of the ideal"] <= 1
    assert row["of the server"] > 0


@pytest.mark.parametrize("given", [["nothing"], ["doublings", "--records", "10"], ["workers", "--workers", "0"]])
def test_what_can_not_be_measured_is_one_line(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
