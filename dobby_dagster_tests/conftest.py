"""What many tests share. Nothing here stands in for a real part: databases are files, models are loaded."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from dobby_dagster.cli.app import main, restore_sigint
from dobby_dagster.domain import secrets
from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.settings import DatabaseSettings, Settings
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.inference.models.model_card import CARD
from dobby_dagster.inference.models.shipped_models import shelf
from dobby_dagster.ingest.splitter_process import Splitter
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers import real_cozo_server
from dobby_dagster_tests.helpers.checkpoint_fixtures import llama, qwen2
from dobby_dagster_tests.helpers.command import Answer, Dobby, check_plurals
from dobby_dagster_tests.helpers.cozo_server import running_server
from dobby_dagster_tests.helpers.flawed_engine import Faults

restore_sigint()
# No clock decides over a test. The same examples every time where a failure has to be one of the change; new ones on a
# developer's machine.
hypothesis.settings.register_profile("dobby", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dobby")

__all__ = ["llama", "qwen2"]  # fixtures
SLOW_FOLDERS = ("system", "training")
ENGINES = ["sqlite", "mem", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rocksdb", "http"))]
if find_spec("mnestic"):
    ENGINES += [pytest.param(f"mnestic {engine}", marks=pytest.mark.slow) for engine in ("sqlite", "rocksdb", "mem")]
if real_cozo_server.URL:
    ENGINES.append(pytest.param("real server", marks=pytest.mark.slow))


def pytest_configure() -> None:
    """Databases of tests are in memory where there is enough: tests are about what is stored, not about a slow disk."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 * 1024**3:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: whole systems wait more than they compute."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of slow folders; elsewhere each says so itself.

    Of several workers the first begins with the whole systems, which wait more than they compute, one after the other;
    the rest goes to the others, and none is left with a long test at the end.
    """
    for item in items:
        if _folder(item) in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _folder(item) != "system")


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]


def pytest_collection_finish() -> None:
    """Keep what the imports made out of garbage collection; an engine that is closed collects garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _clean_environment(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """No setting and no DAGSTER_HOME of the caller's reaches a test; the working directory is the test's own.

    Commands and whole systems use the small model, which takes half as long: what they do is the same with each.
    """
    runtime = tmp_path_factory.getbasetemp() / "runtime"
    runtime.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))  # where the models that are loaded are noted
    for name in list(os.environ):
        if name.startswith("DOBBY_") or name in ("DATABASE_URL", "MODEL_PATH", "DAGSTER_HOME"):
            monkeypatch.delenv(name)
    if _folder(request.node) in ("system", "cli"):
        monkeypatch.setenv("MODEL_PATH", SMALL_MODEL)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def default_model(monkeypatch: pytest.MonkeyPatch, _clean_environment: None) -> None:
    """For a test of a command that is about the default model."""
    monkeypatch.delenv("MODEL_PATH")


@pytest.fixture(autouse=True)
def _no_engine_of_another_test() -> Iterator[None]:
    """Each test loads its models itself."""
    yield
    if used := sys.modules.get("dobby_dagster.inference.engine_pool"):
        used.POOL.clear()


@pytest.fixture(autouse=True)
def _no_secret_of_another_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What one test calls a secret is an ordinary word to the next."""
    monkeypatch.setattr(secrets, "_known", set())
    secrets._pattern.cache_clear()
    yield
    secrets._pattern.cache_clear()


@pytest.fixture(autouse=True)
def _steps_are_retried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster waits some seconds before it tries a step again; nothing in this process does."""
    monkeypatch.setattr("dagster.RetryPolicy.calculate_delay", lambda self, attempt: 0)


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseSettings]:
    """An empty database of each engine in turn."""
    if request.param == "http":
        with running_server() as server:
            yield DatabaseSettings(url=server.url, timeout_seconds=5)
    elif request.param == "real server":
        with real_cozo_server.empty_real_server() as url:
            yield DatabaseSettings.model_validate({"url": url, "auth": real_cozo_server.TOKEN or None})
    else:
        driver, _, engine = request.param.rpartition(" ")
        place = tmp_path.name if engine == "mem" else f"/{tmp_path}/records.db"
        yield DatabaseSettings.model_validate({"url": f"{engine}://{place}", "driver": driver or "cozo"})


@pytest.fixture
def store(database: DatabaseSettings) -> Iterator[CozoStore]:
    """A store on each engine in turn."""
    opened = CozoStore.open(database)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def splitter() -> Iterator[Splitter]:
    """Cuts arbitrary texts: some grammars crash on some of them, which must not end the tests."""
    with Splitter() as opened:
        yield opened


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a database file that is not there yet."""
    return f"sqlite:///{tmp_path}/records.db"


@pytest.fixture
def sqlite_store(sqlite_url: str) -> CozoStore:
    """A store in a file."""
    return CozoStore.open(DatabaseSettings(url=sqlite_url))


@pytest.fixture(params=["sqlite", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("http", "mnestic"))])
def any_store(request: pytest.FixtureRequest, tmp_path: Path, sqlite_url: str) -> Iterator[CozoStore]:
    """A store in a file, one that a server has, and one by mnestic."""
    if request.param == "http":
        with running_server() as server:
            yield CozoStore.open(DatabaseSettings(url=server.url))
    elif request.param == "mnestic":
        pytest.importorskip("mnestic", reason="the package mnestic is not installed")
        yield CozoStore.open(DatabaseSettings(url=f"mem://{tmp_path.name}", driver="mnestic"))
    else:
        yield CozoStore.open(DatabaseSettings(url=sqlite_url))


@pytest.fixture
def make_settings(sqlite_url: str) -> Callable[..., Settings]:
    """Settings on the test's database; ``section__name`` names one."""

    def make(**named: object) -> Settings:
        arguments = {"database.url": sqlite_url} | {name.replace("__", "."): value for name, value in named.items()}
        return load_settings(arguments, environment={}).settings

    return make


@pytest.fixture
def dobby(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Dobby:
    """Run the command in this process, in the test's own folder."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr("sys.argv", ["dobby", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        check_plurals(out + err)
        return Answer(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Makes the engines of this process fail on demand."""
    made = Faults(tmp_path)
    made.install(monkeypatch.setattr)
    return made


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    """The built-in model under another name, as another model with summaries that pass the gate."""
    folder = tmp_path / "twin"
    shutil.copytree(shelf()[SMALL_MODEL], folder)
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, "description": "A twin."}))
    return folder


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every engine of this process that loads its model."""
    from dobby_dagster.inference.engine_pool import PooledEngine

    found: list[Any] = []
    load = PooledEngine._load
    monkeypatch.setattr(PooledEngine, "_load", lambda self: found.append(self) or load(self))
    return found
