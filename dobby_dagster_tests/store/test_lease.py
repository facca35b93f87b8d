"""Several processes and threads on one embedded database."""

import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import StoreAccessError, StoreBusyError
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.database.connect import connect, cozo_client
from dobby_dagster.store.database.connection import Connection


def python(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


WRITER = """
    import sys
    from dobby_dagster.domain.settings import DatabaseSettings
    from dobby_dagster.store.database.connect import connect
    c = connect(DatabaseSettings(url=sys.argv[1]))
    for i in range(int(sys.argv[3])):
        c.run("?[k, v] <- [[$k, 1]] :put t {k => v}", {"k": f"{sys.argv[2]}-{i}"}, write=True)
        c.run("?[count(k)] := *t{k}")
"""
PLAIN = """
    import sys, time
    from pycozo.client import Client
    done = tries = 0
    while done < int(sys.argv[2]):
        tries += 1
        try:
            c = Client("sqlite", sys.argv[1], dataframe=False)
            c.run("?[k, v] <- [[$k, 1]] :put t {k => v}", {"k": f"plain-{done}"})
            c.close()
            done += 1
        except BaseException:
            time.sleep(0.002)
    print(tries)
"""


def opened(url: str) -> Connection:
    connection = connect(DatabaseSettings(url=url))
    connection.run(":create t {k: String => v: Int}", write=True)
    return connection


def count(connection: Connection) -> int:
    return int(connection.run("?[count(k)] := *t{k}").rows[0][0])


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "writes"), [("sqlite", 60), ("rocksdb", 15)])
def test_processes_lose_nothing(tmp_path: Path, engine: str, writes: int) -> None:
    url = f"{engine}:///{tmp_path}/t.db"
    connection = opened(url)
    writers = [python(WRITER, url, str(n), str(writes)) for n in range(4)]
    results = [writer.communicate(timeout=120) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, results
    assert count(connection) == 4 * writes


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sqlite", "rocksdb", "mem"])
def test_threads_lose_nothing(tmp_path: Path, engine: str) -> None:
    connection = opened(f"{engine}:///{tmp_path}/t.db" if engine != "mem" else "mem://threads")
    errors: list[BaseException] = []

    def write(thread: int) -> None:
        try:
            for i in range(20):
                connection.run("?[k, v] <- [[$k, 1]] :put t {k => v}", {"k": f"{thread}-{i}"}, write=True)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert count(connection) == 120


def test_a_plain_client_that_knows_no_lease_costs_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    connection = opened(url)
    plain = python(PLAIN, f"{tmp_path}/t.db", "100")
    ours = python(WRITER, url, "ours", "100")
    out, err = ours.communicate(timeout=120)
    assert ours.returncode == 0, out + err
    plain.communicate(timeout=120)
    assert count(connection) == 200


def test_the_helper_gives_a_plain_client_inside_the_lease(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    connection = opened(url)
    ours = python(WRITER, url, "ours", "50")
    for i in range(50):
        with cozo_client(url) as db:
            db.run("?[k, v] <- [[$k, 1]] :put t {k => v}", {"k": f"helper-{i}"})
    assert ours.wait(120) == 0
    assert count(connection) == 100
    with pytest.raises(ValueError, match="is a server"), cozo_client("http://127.0.0.1:1"):
        pass


def test_the_wait_is_bounded_and_names_the_holder(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    opened(url)
    holder = python(
        """
        import sys, time
        from dobby_dagster.domain.settings import DatabaseSettings
        from dobby_dagster.store.database.connect import connect
        with connect(DatabaseSettings(url=sys.argv[1])).session(write=True):
            print("held", flush=True)
            time.sleep(60)
        """,
        url,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    waiting = connect(DatabaseSettings(url=url, lease_timeout_seconds=0.3))
    began = time.monotonic()
    try:
        with pytest.raises(StoreBusyError, match=rf"in use by process {holder.pid} .*waited 0.3 s"):
            waiting.run("?[k] := *t{k}")
        assert time.monotonic() - began < 5
    finally:
        holder.kill()
        holder.wait()
    assert waiting.run("?[k] := *t{k}").rows == [], "the kernel drops the lease of the dead"


def test_threads_wait_no_longer_than_the_timeout(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    opened(url)
    connection = connect(DatabaseSettings(url=url, lease_timeout_seconds=0.2))
    caught: list[BaseException] = []

    def read() -> None:
        try:
            connection.run("?[k] := *t{k}")
        except BaseException as error:
            caught.append(error)

    with connection.session(write=True):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert [type(error) for error in caught] == [StoreBusyError]


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_a_database_has_one_lease_by_whatever_links_it_is_reached(tmp_path: Path, engine: str) -> None:
    real, link, folder = tmp_path / "real", tmp_path / "link", tmp_path / "folder"
    opened(f"{engine}:///{real}")
    link.symlink_to("real")
    folder.symlink_to(tmp_path)
    with connect(DatabaseSettings(url=f"{engine}:///{link}")).session(write=True):
        for path in (real, link, folder / "link"):
            other = connect(DatabaseSettings(url=f"{engine}:///{path}", lease_timeout_seconds=0.1))
            with pytest.raises(StoreBusyError, match="in use by process"):
                other.run("?[k] := *t{k}")
    assert [file.name for file in sorted(tmp_path.glob("*.lease"))] == ["real.lease"]
    opened(f"{engine}:///{tmp_path}/other")
    through = connect(DatabaseSettings(url=f"{engine}:///{link}"))
    link.unlink()
    link.symlink_to("other")
    through.run("?[k, v] <- [['a', 1]] :put t {k => v}", write=True)
    assert [file.name for file in sorted(tmp_path.glob("*.lease"))] == ["other.lease", "real.lease"]


def test_a_writing_session_can_not_begin_inside_a_reading_one(tmp_path: Path) -> None:
    connection = opened(f"sqlite:///{tmp_path}/t.db")
    with connection.session(), pytest.raises(RuntimeError, match="inside a reading one"):
        connection.run("?[k, v] <- [['a', 1]] :put t {k => v}", write=True)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreAccessError, match="no can.t be written"):
        connect(DatabaseSettings(url=f"sqlite:///{tmp_path}/no/t.db")).run("::relations")
