"""Upkeep: check, backup with rotation, compaction."""

from pathlib import Path

import dagster as dg
import pytest

from dobby_dagster.domain.errors import (
    StoreAccessError,
)  # fmt: skip
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.states import COMPLETED, PENDING
from dobby_dagster.pipeline.backup_rotation import back_up
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.automation import recipe, run, versions
from dobby_dagster_tests.helpers.records import put
from dobby_dagster_tests.helpers.world import Make


def test_upkeep_checks_backs_up_rotates_and_compacts(
    make_settings: Make, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    settings = make_settings(automation__backup_folder=folder, automation__backups_kept=2, automation__history_days=30)
    store = CozoStore.open(settings.database)
    put(store, {"a": "x"})
    plan(store, store.source(settings.source), 5)
    folder.mkdir()
    for day in ("01", "02", "03", "04"):
        store.backup(folder / f"dobby-202001{day}-000000.backup")
    (folder / "mine.txt").write_text("not Dobby's")
    version = versions(store, settings, batch_id(1))
    store.states.set_states(version, PENDING, Scope(recipe(settings), batch_id(1), ""))
    store.states.set_states(version, COMPLETED, Scope(recipe(settings), batch_id(1), ""))
    assert run("upkeep", settings, instance).success
    kept = sorted(path.name for path in folder.iterdir())
    assert [kept[0], kept[1], kept[3]] == ["dobby-20200101-000000.backup", "dobby-20200104-000000.backup", "mine.txt"]
    assert len(kept) == 4, "two are kept, and the oldest"
    assert len(store.states.history("record", "a")) == 3, "nothing is a month old yet"
    today = {"ops": {"compact_history": {"config": {"days": 1e-9}}}}
    assert run("upkeep", make_settings(), instance, today).success
    assert [event["event"] for event in store.states.history("record", "a")] == ["seen", "completed"]
    assert sorted(path.name for path in folder.iterdir()) == kept
    from dobby_dagster.domain.settings import DatabaseSettings
    from dobby_dagster.store.maintenance.backup_file import restore

    copy = DatabaseSettings(url=f"sqlite:///{tmp_path}/copy.db")
    restore(copy, folder / kept[2])
    assert CozoStore.open(copy).source(settings.source).count() == 1


def test_no_launchpad_says_where_a_backup_goes(
    make_settings: Make, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    elsewhere = {"ops": {"back_up_database": {"config": {"folder": str(tmp_path / "theirs"), "kept": 1}}}}
    settings = make_settings(automation__backup_folder=tmp_path / "mine")
    CozoStore.open(settings.database)
    assert run("upkeep", settings, instance, elsewhere).success
    assert [path.suffix for path in (tmp_path / "mine").iterdir()] == [".backup"]
    assert not (tmp_path / "theirs").exists()


def test_a_damaged_database_stops_upkeep_before_it_replaces_a_good_backup(
    make_settings: Make, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    settings = make_settings(automation__backup_folder=folder, automation__backups_kept=1)
    store = CozoStore.open(settings.database)
    put(store, {f"k{i}": "x" * 500 for i in range(2_000)})
    good = back_up(store, folder, 1).path
    file = tmp_path / "records.db"
    damaged = bytearray(file.read_bytes())
    for page in range(20, len(damaged) // 4096, 3):
        damaged[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    file.write_bytes(damaged)
    result = run("upkeep", settings, instance)
    assert not result.success
    assert "is damaged" in str([e.event_specific_data for e in result.all_events if e.is_failure])
    assert list(folder.iterdir()) == [good]


def test_a_damaged_backup_counts_for_none_and_the_oldest_good_one_stays(store: CozoStore, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    names = [f"dobby-202001{day:02}-000000.backup" for day in range(1, 7)]
    for name in names:
        store.backup(folder / name)
    for damaged in (names[0], names[4]):
        (folder / damaged).write_bytes((folder / damaged).read_bytes()[:8_000])
    done = back_up(store, folder, 3)
    left = sorted(path.name for path in folder.iterdir())
    assert left == [names[1], names[3], names[4], names[5], done.path.name]
    assert [path.name for path in done.damaged] == [names[4]]
    assert {path.name for path in done.deleted} == {names[0], names[2]}
    for _ in range(3):
        last = back_up(store, folder, 1)
    assert sorted(path.name for path in folder.iterdir()) == [names[1], last.path.name]


def test_a_backup_folder_that_can_not_be_made_is_named(store: CozoStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreAccessError, match=r"backup folder .*file/b can't be created"):
        back_up(store, tmp_path / "file" / "b", 3)
