"""Where a database may be, who can read it, and what is done where nothing can be written."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import SchemaError, SettingsError, StoreAccessError, StoreError
from dobby_dagster.domain.settings import DatabaseSettings, Settings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import connect, cozo_client
from dobby_dagster.store.ledger.schema import schema_version, set_meta
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.records import put


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


MAKERS: dict[str, Callable[[Path], object]] = {
    "a folder of other things": lambda p: (p.mkdir(), (p / "thesis.txt").write_text("mine")),
    "an empty folder": os.mkdir,
    "an empty file": Path.touch,
    "a pipe": os.mkfifo,
    "a socket": listen,
    "a link to nothing": lambda p: p.symlink_to(p.parent / "nowhere"),
    "a link to a device": lambda p: p.symlink_to("/dev/zero"),
    "nothing": lambda p: None,
    "a text": lambda p: p.write_text("my notes"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
@pytest.mark.parametrize("what", MAKERS)
def test_reading_commands_create_no_database(dobby: Dobby, tmp_path: Path, engine: str, what: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    MAKERS[what](place / "x")
    before = {str(path): os.lstat(path).st_mtime_ns for path in place.rglob("*")}
    for command in (("status",), ("export",), ("show", "k"), ("failed", "list"), ("backup", "b.backup")):
        answer = dobby(*command, "-d", f"{engine}:///{place}/x")
        assert answer.code == 1, command
        assert "x" in answer.err
        assert "Traceback" not in answer.err
    assert {str(path): os.lstat(path).st_mtime_ns for path in place.rglob("*") if path.suffix != ".lease"} == before
    if what == "nothing":
        assert list(place.iterdir()) == []


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_no_database_is_made_in_the_place_of_something_else(tmp_path: Path, engine: str) -> None:
    for what in MAKERS.keys() - {"nothing", "an empty file", "an empty folder"}:
        path = tmp_path / what
        MAKERS[what](path)
        with pytest.raises(StoreError, match=what):
            CozoStore.open(DatabaseSettings(url=f"{engine}:///{path}"))


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_no_database_is_made_in_the_place_of_one_that_was_moved_away(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "records.db"
    store = CozoStore.open(DatabaseSettings(url=f"{engine}:///{path}"))
    put(store, {"a": "one"})
    path.rename(tmp_path / "elsewhere")
    for write in (False, True):
        with pytest.raises(StoreAccessError, match="there is no database at"):
            store.connection.run("?[key] := *record{key}", write=write)
    assert not path.exists()
    (tmp_path / "elsewhere").rename(path)
    assert store.connection.run("?[key] := *record{key}").rows == [["a"]]


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_no_database_is_made_in_the_place_of_one_that_is_moved_away_while_others_wait(
    tmp_path: Path, engine: str
) -> None:
    path = tmp_path / "records.db"
    url = f"{engine}:///{path}"
    put(CozoStore.open(DatabaseSettings(url=url)), {"a": "one"})
    waiting = connect(DatabaseSettings(url=url), create=False)
    assert waiting.run("?[key] := *record{key}").rows == [["a"]]
    with ThreadPoolExecutor() as threads:
        with connect(DatabaseSettings(url=url)).session(write=True):
            answer = threads.submit(waiting.run, "?[key] := *record{key}")
            with pytest.raises(TimeoutError):
                answer.result(timeout=0.3)
            path.rename(tmp_path / "elsewhere")
        with pytest.raises(StoreAccessError, match="there is no database at"):
            answer.result(timeout=60)
    assert not path.exists()


@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_a_new_database_is_its_owners_alone(tmp_path: Path, engine: str) -> None:
    before = os.umask(0o022)
    try:
        CozoStore.open(DatabaseSettings(url=f"{engine}:///{tmp_path}/t.db"))
    finally:
        os.umask(before)
    assert mode(tmp_path / "t.db") == (0o600 if engine == "sqlite" else 0o700)
    assert mode(tmp_path / "t.db.lease") == 0o600


def test_a_lease_is_for_those_who_may_write_the_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    CozoStore.open(DatabaseSettings(url=url))
    for database, lease in ((0o644, 0o600), (0o664, 0o660), (0o600, 0o600), (0o666, 0o666)):
        (tmp_path / "t.db").chmod(database)
        (tmp_path / "t.db.lease").chmod(0o644)
        connect(DatabaseSettings(url=url)).run("::relations")
        assert mode(tmp_path / "t.db.lease") == lease


@pytest.mark.timeout(60)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda p: os.symlink("/dev/null", p)])
def test_a_lease_that_is_no_file_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "t.db.lease")
    with pytest.raises(StoreAccessError, match=r"lease .*t\.db\.lease"):
        CozoStore.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/t.db"))


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", '{"pid": "x", "command": 1, "since": null}', "\0"])
def test_a_holder_that_can_not_be_read_is_unknown(tmp_path: Path, text: str) -> None:
    from dobby_dagster.store.database.lease import Lease

    lease = Lease(tmp_path / "t.db", 1.0)
    lease.path.write_text(text)
    assert lease.holder() == "an unknown process"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can get into."""
    with tempfile.TemporaryDirectory(prefix="dobby-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


# Root may write everything, unless it gives that up.
AS_A_USER = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
READING = """
    import sys
    from dobby_dagster.domain.errors import DobbyError
    from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
    from dobby_dagster.store.cozo_store import CozoStore
    store = CozoStore.open(DatabaseSettings(url=sys.argv[1]), create=False)
    print(store.source(SourceSettings()).count(), store.check())
    try:
        store.records.remove(["k1"])
    except DobbyError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root needs setpriv for it")
@pytest.mark.parametrize("leased", [False, True])
@pytest.mark.parametrize("engine", ["sqlite", "rocksdb"])
def test_read_only_media_are_read_and_writing_there_is_refused_in_words(
    open_folder: Path, engine: str, leased: bool
) -> None:
    path = open_folder / "media" / "t.db"
    path.parent.mkdir()
    store = CozoStore.open(DatabaseSettings(url=f"{engine}:///{path}"))
    put(store, {f"k{i}": "x" for i in range(5)})
    if not leased:
        path.with_name("t.db.lease").unlink()
    made = [path.parent, *path.parent.rglob("*")]
    for one in made:
        one.chmod(0o555 if one.is_dir() else 0o444)
    before = {one: one.stat().st_mtime_ns for one in made}
    command = [*AS_A_USER, sys.executable, "-c", textwrap.dedent(READING), f"{engine}:///{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=open_folder, timeout=60)
    for one in made:
        one.chmod(0o755 if one.is_dir() else 0o644)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "5 []"
    assert second.startswith("StoreAccessError")
    assert "can't be written" in second
    assert {one: one.stat().st_mtime_ns for one in path.parent.rglob("*")}.keys() == before.keys() - {path.parent}


@pytest.mark.parametrize("value", ["three", [3], {"a": 1}, 1.5, True, -1, 10**18, ""])
def test_an_invalid_schema_version_is_named(sqlite_store: CozoStore, sqlite_url: str, value: object) -> None:
    set_meta(sqlite_store.connection, "schema_version", value)
    with pytest.raises(SchemaError, match="schema version"):
        CozoStore.open(DatabaseSettings(url=sqlite_url))
    with pytest.raises(SchemaError, match="schema version"):
        schema_version(sqlite_store.connection) and CozoStore.open(DatabaseSettings(url=sqlite_url))


def test_a_dagster_home_is_its_owners_alone_and_an_open_one_is_named(
    make_settings: Callable[..., Settings], open_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from dobby_dagster.defs.runs.dagster_home import dagster_home

    home = open_folder / "home"
    database = open_folder / "t.db"
    settings = make_settings(dagster__home=home, database__url=f"sqlite:///{database}")
    assert dagster_home(settings) == home
    assert mode(home) == 0o700
    assert caplog.text == ""
    home.chmod(0o755)
    with cozo_client(settings.database.url):
        pass
    database.chmod(0o644)
    dagster_home(settings)
    assert f"{home} can be read by every user of this machine (mode 0755); chmod 700" in caplog.text
    assert f"{database} can be read by every user of this machine (mode 0644); chmod 600" in caplog.text


HOME = """
    import resource, signal, sys
    from dobby_dagster.defs.runs.dagster_home import terminal_instance
    from dobby_dagster.domain.errors import DobbyError
    from dobby_dagster.domain.settings_loader import load_settings
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        with terminal_instance(load_settings({}, environment={}).settings) as instance:
            instance.get_runs()
    except DobbyError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_full_dagster_home_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HOME)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.startswith("SettingsError DAGSTER_HOME"), done.stdout + done.stderr
    assert "can't be used" in done.stdout or "can't be written" in done.stdout


@pytest.mark.parametrize("name", ["~nosuchuser/home", "file/home", "a" * 300])
def test_a_dagster_home_that_can_not_be_created_is_named(make_settings: Callable[..., Settings], name: str) -> None:
    from dobby_dagster.defs.runs.dagster_home import dagster_home

    Path("file").write_text("")
    with pytest.raises(SettingsError, match="DAGSTER_HOME .* can't be written"):
        dagster_home(make_settings(dagster__home=name))


def test_doctor_makes_nothing(dobby: Dobby, sqlite_store: CozoStore, sqlite_url: str, tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    answer = dobby("doctor", "-d", sqlite_url)
    assert "the first run creates it" in answer.out.replace("\n", " ")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_damaged_dagster_home_is_one_line(dobby: Dobby, sqlite_store: CozoStore, sqlite_url: str) -> None:
    assert dobby("recover", "-d", sqlite_url).code == 0
    for database in Path(".dagster_home").rglob("*.db"):
        database.write_bytes(b"this is no database at all" * 400)
    answer = dobby("recover", "-d", sqlite_url)
    assert answer.code == 1
    assert "DAGSTER_HOME" in answer.err
    assert "file is not a database" in answer.err
    assert "Traceback" not in answer.err


def test_doctor_goes_on_where_the_databases_folder_is_missing(dobby: Dobby) -> None:
    answer = dobby("doctor", "-d", "sqlite:///no/such/folder/t.db", "--json")
    found = {finding["name"]: finding for finding in answer.json}
    assert answer.code == 1
    assert "there is no database" in found["database"]["message"]
    assert "GB free" in found["disk"]["message"]
