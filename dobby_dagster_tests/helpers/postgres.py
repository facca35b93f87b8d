"""A real PostgreSQL for Dagster's storage; skipped where its server is not installed.

Debian's package ``postgresql`` has the server. It runs on a free port of the loopback, in a temporary folder, and ends
with the test. It refuses to run as root: there it runs as the user that the package creates, else as ``nobody``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from dobby_dagster_tests.helpers.webserver import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
USER, PASSWORD = "dagster", "p@ss:word/of%the test"
SECONDS_TO_STOP = 30.0


def _folder() -> Path | None:
    """Where ``initdb`` and ``pg_ctl`` are: on the PATH, or where Debian keeps them."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "initdb").exists()), None)


needs_postgres = pytest.mark.skipif(
    _folder() is None or find_spec("dagster_postgres") is None,
    reason="PostgreSQL's server (Debian's package `postgresql`) or dagster-postgres is not installed",
)


class Postgres:
    """A running server with an empty database for Dagster.

    Attributes:
        port: On 127.0.0.1.
    """

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.port = free_port()
        self._folder, self._binaries = folder, binaries
        self._account = _account()
        if self._account:
            shutil.chown(folder, self._account.pw_name)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            "initdb", "--pgdata", self._data, "--username", USER, "--pwfile", str(secret), "--auth", "scram-sha-256",
            "--encoding", "UTF8", "--no-sync",
        )  # fmt: skip
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        """What ``deploy/dagster-postgres.yaml`` reads."""
        return {
            "DAGSTER_PG_HOST": "127.0.0.1", "DAGSTER_PG_PORT": str(self.port), "DAGSTER_PG_DB": "postgres",
            "DAGSTER_PG_USERNAME": USER, "DAGSTER_PG_PASSWORD": PASSWORD,
        }  # fmt: skip

    def home(self, folder: Path) -> Path:
        """``folder`` as a DAGSTER_HOME whose storage is this server."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(DEPLOY / "dagster-postgres.yaml", folder / "dagster.yaml")
        return folder

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        options = (
            f"-c port={self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
            " -c fsync=off -c max_connections=200 -c shared_buffers=32MB"
        )
        self._run("pg_ctl", "start", "--pgdata", self._data, "--wait", "--log", f"{self._folder}/log", "-o", options)

    def stop(self) -> None:
        """End the server and all its connections, as a crash would; its data stays."""
        self._run("pg_ctl", "stop", "--pgdata", self._data, "--wait", "--mode", "immediate")

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def kill(self) -> None:
        """End it in any case; for the end of a test."""
        try:
            pid = int((Path(self._data) / "postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGQUIT)
        except (OSError, ValueError, IndexError):
            return

    def _run(self, program: str, *arguments: str) -> None:
        # A file takes the output: a server that goes on would keep a pipe open for good.
        with (self._folder / "commands.log").open("a+") as log:
            done = subprocess.run(
                [str(self._binaries / program), *arguments], cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, timeout=120, check=False, **self._as_account(),
            )  # fmt: skip
            log.seek(0)
            assert done.returncode == 0, log.read()

    def _as_account(self) -> dict[str, object]:
        if not self._account:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}


def _account() -> pwd.struct_passwd | None:
    """Whose processes the server's are, where root can't be: None is this user."""
    if os.geteuid() != 0:
        return None
    names = {each.pw_name: each for each in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server until the end of the block. Its folder is short and reachable by its user, as pytest's are not."""
    binaries = _folder()
    assert binaries is not None
    folder = Path(tempfile.mkdtemp(prefix="dobby-pg-", dir="/tmp"))
    folder.chmod(0o755)
    server: Postgres | None = None
    try:
        server = Postgres(folder, binaries)
        yield server
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of the test's own; mark the test with ``needs_postgres``."""
    with running_postgres() as server:
        yield server
