"""The pool of engines: lent to one run at a time, kept for the next, and freed when it has to be."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference import engine_pool
from dobby_dagster.inference.engine import Engine, Generation
from dobby_dagster.inference.engine_pool import EnginePool, PooledEngine
from dobby_dagster.inference.loaded_models import _folder as loaded_models_folder
from dobby_dagster.inference.loaded_models import loaded_models
from dobby_dagster_tests.helpers.local_engines import CONTENTS, PROMPT, edited, requests

SHORT = InferenceSettings(slots=4, max_new_tokens=4)


@pytest.fixture
def pool() -> Iterator[EnginePool]:
    made = EnginePool()
    yield made
    made.clear()


def model(path: Path, **chosen: object) -> ModelSettings:
    return ModelSettings.model_validate({"path": str(path), "device": "cpu", "dtype": "float32"} | chosen)


def texts(engine: Engine) -> list[str]:
    answers = list(engine.infer(requests(CONTENTS[:3]), PROMPT))
    return [each.text for each in sorted(answers, key=lambda each: each.id) if isinstance(each, Generation)]


def test_a_model_is_loaded_once_for_many_runs(pool: EnginePool, loads: list[Any], qwen2: Path) -> None:
    written = []
    for _ in range(3):
        with pool.lend(model(qwen2), SHORT) as engine:
            written.append(texts(engine))
    assert len(loads) == 1
    assert written[0] == written[1] == written[2]


def test_other_settings_and_other_files_are_another_engine(
    pool: EnginePool, loads: list[Any], qwen2: Path, tmp_path: Path
) -> None:
    copy = edited(qwen2, tmp_path / "copy")
    for settings, inference in [
        (model(copy), SHORT),
        (model(copy), SHORT.model_copy(update={"slots": 2})),
        (model(copy, engine="packed"), SHORT),
        (model(copy, idle_seconds=9), SHORT),
    ]:
        with pool.lend(settings, inference) as engine:
            engine.load()
        assert len(loaded_models()) == 1, "the engine before is freed, not kept beside this one"
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    with pool.lend(model(copy), SHORT) as engine:
        engine.load()
    assert len(loads) == 5
    with pool.lend(model(copy, timeout_seconds=7, idle_seconds=200), SHORT.model_copy(update={"stall_seconds": 1.0})):
        pass
    assert len(loads) == 5, "the model does not depend on these"


def test_a_run_of_another_revision_is_refused(pool: EnginePool, qwen2: Path) -> None:
    with pytest.raises(ModelError, match="changed since the run began"), pool.lend(model(qwen2), SHORT, "0" * 64):
        pass


def test_files_that_change_while_the_model_is_loaded_are_noticed(
    pool: EnginePool, qwen2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = edited(qwen2, tmp_path / "copy")
    load = engine_pool.LocalEngine._load

    def slow(self: Any) -> Any:
        loaded = load(self)
        (copy / "generation_config.json").write_text('{"eos_token_id": 5}')
        return loaded

    monkeypatch.setattr(engine_pool.LocalEngine, "_load", slow)
    with pytest.raises(ModelError, match="changed while it was loaded"), pool.lend(model(copy), SHORT) as engine:
        engine.load()
    assert loaded_models() == []


def test_a_model_whose_files_vanish_while_it_is_loaded_is_closed(
    pool: EnginePool, qwen2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = edited(qwen2, tmp_path / "copy")
    load, closed = engine_pool.LocalEngine._load, []

    def slow(self: Any) -> Any:
        loaded = load(self)
        loaded.close = lambda: closed.append(True)
        (copy / "config.json").unlink()
        return loaded

    monkeypatch.setattr(engine_pool.LocalEngine, "_load", slow)
    with pytest.raises(ModelError, match=r"has no config\.json"), pool.lend(model(copy), SHORT) as engine:
        engine.load()
    assert closed == [True]
    assert loaded_models() == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_a_failed_or_stopped_run_leaves_no_engine(
    error: type[BaseException], pool: EnginePool, loads: list[Any], qwen2: Path
) -> None:
    with pytest.raises(error), pool.lend(model(qwen2), SHORT) as engine:
        next(iter(engine.infer(requests(CONTENTS), PROMPT)))
        raise error
    assert loaded_models() == []
    with pool.lend(model(qwen2), SHORT) as engine:
        assert texts(engine)
    assert len(loads) == 2


def test_an_engine_that_is_broken_afterwards_is_not_kept(
    pool: EnginePool, qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pool.lend(model(qwen2), SHORT) as engine:
        engine.load()
        monkeypatch.setattr(engine, "rest", lambda: (_ for _ in ()).throw(RuntimeError("broken")))
    assert loaded_models() == []


def test_runs_at_once_do_not_share_an_engine(pool: EnginePool, qwen2: Path) -> None:
    used: list[Engine] = []
    both = threading.Barrier(2)

    def run() -> None:
        with pool.lend(model(qwen2), SHORT) as engine:
            engine.load()
            used.append(engine)
            both.wait(60)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert used[0] is not used[1]
    assert len(loaded_models()) == 1, "one of them is kept"


def test_an_idle_engine_is_freed_after_its_time(pool: EnginePool, qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    freed = threading.Event()
    close = PooledEngine.close
    monkeypatch.setattr(PooledEngine, "close", lambda self: close(self) or freed.set())
    with pool.lend(model(qwen2, idle_seconds=0.01), SHORT) as engine:
        engine.load()
    assert freed.wait(60)
    assert loaded_models() == []
    with pool.lend(model(qwen2, idle_seconds=0), SHORT) as engine:
        engine.load()
    assert loaded_models() == []


def test_an_idle_engine_is_freed_when_memory_is_short(
    pool: EnginePool, qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed = threading.Event()
    close = PooledEngine.close
    monkeypatch.setattr(PooledEngine, "close", lambda self: close(self) or freed.set())
    monkeypatch.setattr(engine_pool, "CHECK_SECONDS", 0.01)
    with pool.lend(model(qwen2), SHORT) as engine:
        engine.load()
    assert [each.in_use for each in loaded_models()] == [False]
    monkeypatch.setattr(engine_pool, "memory_is_short", lambda: True)
    assert freed.wait(60)
    with pool.lend(model(qwen2), SHORT) as engine:
        engine.load()
    assert loaded_models() == [], "where memory is short nothing is kept"


def test_a_lent_engine_is_shown_with_its_process(pool: EnginePool, qwen2: Path) -> None:
    with pool.lend(model(qwen2), SHORT) as engine:
        assert loaded_models() == []
        info = engine.load()
        [shown] = loaded_models()
        assert (shown.pid, shown.in_use, shown.model) == (os.getpid(), True, info.name)
        assert shown.process_bytes is not None
        assert shown.process_bytes > shown.weights_bytes > 0
    pool.clear()
    assert loaded_models() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_neither_the_engine_nor_the_lock(qwen2: Path) -> None:
    code = f"""
import os, signal
from dobby_dagster.inference.engine_pool import POOL
from dobby_dagster.inference.loaded_models import loaded_models
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
with POOL.lend(ModelSettings(path={str(qwen2)!r}, device="cpu"), InferenceSettings()) as engine:
    engine.load()
with POOL._lock:  # as the timer holds it, in a thread that the new process does not have
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        POOL.clear()
        os._exit(0 if POOL._kept(engine.key) is None else 1)
print(os.waitpid(child, 0)[1], [each.in_use for each in loaded_models()])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 [False]\n"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_what_a_killed_process_had_loaded_is_not_shown(pool: EnginePool, qwen2: Path) -> None:
    code = f"""
import os, signal
from dobby_dagster.inference.engine_pool import POOL
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
with POOL.lend(ModelSettings(path={str(qwen2)!r}, device="cpu"), InferenceSettings()) as engine:
    engine.load()
    print("loaded", flush=True)
    input()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == "loaded\n"
    assert [each.pid for each in loaded_models()] == [process.pid]
    process.stdin.write("\n")
    process.stdin.close()
    process.wait()
    assert loaded_models() == []
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "dobby"
    assert list(folder.iterdir()) == []


def test_an_entry_that_can_not_be_read_now_is_not_deleted(
    pool: EnginePool, qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(self: Path) -> bytes:
        raise PermissionError(self)  # Windows, while its process replaces it

    with pool.lend(model(qwen2), SHORT) as engine:
        engine.load()
        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_bytes", locked)
            assert loaded_models() == []
        assert len(loaded_models()) == 1


IN_A_CONTAINER = """
import sys
from dobby_dagster.inference.engine import ModelInfo
from dobby_dagster.inference.loaded_models import LoadedModelFile
file = LoadedModelFile(ModelInfo("m", "m", "qwen2", "r", 1, 1, 1, "cpu", "", "float32", "none", 1.0))
file.note_use(in_use=False)
print("written", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_process_of_another_container_is_shown_as_long_as_it_lives() -> None:
    unshare = ["unshare", "-pf", "--kill-child", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no PID namespace can be made")
    command = [*unshare, sys.executable, "-c", IN_A_CONTAINER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as container:
        assert container.stdout is not None
        assert container.stdout.readline() == "written\n"
        [shown] = loaded_models()
        assert (shown.pid, shown.in_use) == (1, False), "its own numbers"
        assert shown.elsewhere
        assert shown.process_bytes is None, "pid 1 is another process here"
        [file] = loaded_models_folder().glob("*.json")
        file.write_text(json.dumps(json.loads(file.read_text()) | {"since": 0.0}))
        assert len(loaded_models()) == 1, "however long ago"
        container.kill()
        assert container.stdout.read() == "", "its process has ended, too"
    assert len(list(loaded_models_folder().iterdir())) == 1
    assert loaded_models() == []
    assert list(loaded_models_folder().iterdir()) == []


def test_a_file_that_is_no_entry_is_deleted() -> None:
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "dobby"
    folder.mkdir(exist_ok=True)
    (folder / "x.json").write_text("{}")
    assert loaded_models() == []
    assert list(folder.iterdir()) == []


def test_drafts_that_a_killed_process_left_are_deleted(pool: EnginePool, qwen2: Path) -> None:
    with pool.lend(model(qwen2), SHORT) as engine:
        engine.load()
        folder = loaded_models_folder()
        old, new = folder / "old.draft", folder / "new.draft"
        for draft in (old, new):
            draft.write_text("{")
        os.utime(old, (1, 1))
        assert len(loaded_models()) == 1
        assert not old.exists()
        assert new.exists(), "it may be being written"
        new.unlink()
