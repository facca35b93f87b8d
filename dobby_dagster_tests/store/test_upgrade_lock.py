"""Hosts that open a server's database at once: one brings its schema up to date, the others wait for it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dobby_dagster.domain.errors import StoreBusyError
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import connect
from dobby_dagster.store.ledger import upgrade_lock
from dobby_dagster.store.ledger.schema import LATEST, migrate, relations
from dobby_dagster.store.ledger.upgrade_lock import upgrading
from dobby_dagster_tests.helpers.cozo_server import running_server

HOSTS = 6


@pytest.mark.parametrize("before", [0, 6])
def test_hosts_that_open_a_database_at_the_same_time_upgrade_it_once(before: int) -> None:
    with running_server() as server:
        settings = DatabaseSettings(url=server.url)
        if before:
            migrate(connect(settings), before)
        start = threading.Barrier(HOSTS)

        def open_it(number: int) -> int:
            start.wait()
            return CozoStore.open(settings).health().schema_version

        with ThreadPoolExecutor(HOSTS) as pool:
            assert list(pool.map(open_it, range(HOSTS))) == [LATEST] * HOSTS
        assert "dobby_upgrade" not in relations(connect(settings))


def test_an_upgrade_that_does_not_end_is_named_and_one_that_was_cut_short_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upgrade_lock, "WAIT_SECONDS", 0.0)
    with running_server() as server:
        connection = connect(DatabaseSettings(url=server.url))
        with upgrading(connection), pytest.raises(StoreBusyError, match="is being upgraded by host "):
            migrate(connection)
        connection.run(":create dobby_upgrade {name: String => owner: String, at: Float}", write=True)
        put = "?[name, owner, at] := name = 'schema', owner = 'web-1@1.1/1/1.00/x', at = now() - 1000.0 :put dobby_upgrade {name => owner, at}"
        connection.run(put, write=True)
        assert migrate(connection) == 0
        assert CozoStore(connection).check() == []
