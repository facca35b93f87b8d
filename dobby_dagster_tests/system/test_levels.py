"""Files and packages of a source tree, in whole systems: in a terminal that is killed, and unattended."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.scope import NO_RECIPE
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.ingest.ingestion import ingest
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import PROCESS
from dobby_dagster_tests.helpers.file_tree import tree
from dobby_dagster_tests.helpers.webserver import dagster_dev

FOLDERS, FILES, FUNCTIONS = 3, 3, 4
PARTS = FOLDERS * FILES * FUNCTIONS
RECORDS = PARTS + FOLDERS * FILES + FOLDERS + 1
KILLS, CHUNK = 4, 5


def functions(folder: int, file: int, extra: str = "") -> str:
    names = (f"area_{folder}_{file}_{number}" for number in range(FUNCTIONS))
    return "".join(
        f'def {name}(width, height):\n    """Return the area of {name}{extra}."""\n    return width * height\n\n'
        for name in names
    )


def written(folder: Path) -> Path:
    files = {f"src/p{i}/m{j}.py": functions(i, j) for i in range(FOLDERS) for j in range(FILES)}
    return tree(folder, files) / "src"


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ, "DATABASE_URL": f"sqlite:///{folder}/records.db", "DAGSTER_HOME": str(folder / "home"),
        "MODEL_PATH": SMALL_MODEL, "DOBBY_PIPELINE_CHUNK_SIZE": str(CHUNK), "DOBBY_PIPELINE_BATCH_SIZE": "20",
        "DOBBY_INFERENCE_SLOTS": "4", "DOBBY_AUTOMATION_INTERVAL_SECONDS": "2",
        "DOBBY_AUTOMATION_GATHER_SECONDS": "2",
        # The small model fails at some outlines of packages; that is no matter here.
        "DOBBY_PIPELINE_FAILED_SHARE_LIMIT": "1",
    }  # fmt: skip


def opened(folder: Path) -> CozoStore:
    return CozoStore.open(DatabaseSettings(url=f"sqlite:///{folder}/records.db"))


def status_of(store: CozoStore) -> dict[str, int]:
    return store.reports.status("record", store.recipes.latest())


def inferred(store: CozoStore) -> int:
    return sum(row[0] for row in store.connection.run("?[inferred, chunk] := *dobby_chunk{chunk, inferred}").rows)


@pytest.mark.timeout(900)
def test_a_terminal_that_is_killed_at_any_level_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    store, random_ = opened(tmp_path), random.Random(11)
    ingest(store, [written(tmp_path)])
    for _ in range(KILLS):
        process = subprocess.Popen(
            [*PROCESS, "summarize"], env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        goal = min(status_of(store)["completed"] + random_.randint(1, 4) * CHUNK, RECORDS - 1)
        until(partial(is_at, store, goal, process), 120)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    last = subprocess.run(
        [*PROCESS, "summarize", "--json"], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert last.returncode == 0, last.stderr
    status = json.loads(last.stdout)
    assert (status["records"], ended(status)) == (RECORDS, RECORDS)
    assert inferred(store) == status["summaries"] == status["completed"], "each was inferred and stored once"
    assert due(store) == []


@pytest.mark.timeout(900)
def test_unattended_an_edit_comes_up_to_the_top_and_no_further_than_it_matters(tmp_path: Path) -> None:
    store, root = opened(tmp_path), written(tmp_path)
    ingest(store, [root])
    with dagster_dev(tmp_path, environment(tmp_path)) as served:
        until(lambda: ended(status_of(store)) == RECORDS, 300, lambda: (status_of(store), log(tmp_path)))
        before = inferred(store)
        assert before == status_of(store)["completed"]
        assert partitions_of(served, "outlines") > 0
        edited = functions(0, 0).replace("the area of area_0_0_0", "how large a room is, by its sides")
        (root / "p0/m0.py").write_text(edited)
        ingest(store, [root])
        until(lambda: settled(store) and not due(store), 300)
        on_its_path = inferred(store) - before
        assert 2 <= on_its_path <= 4, "the function and its file; the package and the top, if what is below says more"
        (root / "p1/m0.py").unlink()
        ingest(store, [root])
        until(lambda: "m0.py" not in texts(store, "src/p1"), 300)
        until(lambda: settled(store) and not due(store), 300)
        assert status_of(store)["records"] == RECORDS - FUNCTIONS - 1


def ended(status: dict[str, int]) -> int:
    return status["completed"] + status["failed"]


def until(condition: Callable[[], Any], seconds: float, told: Callable[[], Any] = lambda: "") -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, told()
        time.sleep(0.1)


def is_at(store: CozoStore, goal: int, process: subprocess.Popen[bytes]) -> bool:
    return status_of(store)["completed"] >= goal or process.poll() is not None


def due(store: CozoStore) -> list[str]:
    return store.outlines.due(store.recipes.latest() or NO_RECIPE)


def settled(store: CozoStore) -> bool:
    status = status_of(store)
    waiting = store.versions.waiting("record")
    queued = store.connection.run("?[count(k)] := *dobby_queue_record{k}").rows[0][0]
    return not (status["pending"] or status["in_progress"] or waiting or queued)


def texts(store: CozoStore, key: str) -> str:
    return str(store.connection.run("?[content] := *record{key: $key, content}", {"key": key}).rows[0][0])


def partitions_of(served: Any, asset: str) -> int:
    query = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
        partitionStats { numMaterialized } } } }"""
    found = served.ask(query, {"key": {"path": [asset]}})
    return int(found["assetNodeOrError"]["partitionStats"]["numMaterialized"])


def log(folder: Path) -> str:
    return (folder / "dev.log").read_text()[-3_000:]
