"""An agent and a run of the real model at the same database at the same time."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import anyio
import pytest

from dobby_dagster_tests.helpers.agent_client import Agent, over_stdio
from dobby_dagster_tests.helpers.command import PROCESS, Dobby

pytestmark = pytest.mark.slow
FUNCTION = '''
def {name}_{i}(text):
    """{doc} number {i}."""
    return helper_{i}(text.strip())


def helper_{i}(text):
    return text + "{i}"
'''


@pytest.fixture(params=["sqlite:///code.db", "rocksdb:///code"])
def url(request: pytest.FixtureRequest, dobby: Dobby) -> str:
    """Of a database with two files of 60 functions each."""
    for name, doc in (("parse", "Parse a date of"), ("split", "Split a host name of")):
        Path("src").mkdir(exist_ok=True)
        Path(f"src/{name}.py").write_text("".join(FUNCTION.format(name=name, doc=doc, i=i) for i in range(30)))
    assert dobby("ingest", "src", "--database", request.param).code == 0
    return str(request.param)


def test_an_agent_reads_while_a_run_writes_and_finds_all_of_it_afterwards(url: str, tmp_path: Path) -> None:
    with (tmp_path / "run").open("w") as log:
        command = [*PROCESS, "summarize", "--database", url, "--model", "dobby-code-11m"]
        run = subprocess.Popen(command, stdout=log, stderr=log)
    seconds: list[float] = []
    states: set[str] = set()

    async def talk(agent: Agent) -> None:
        moment = (await agent.call("changes_since", since="1d"))["until"]
        while run.poll() is None:
            began = time.monotonic()
            states.update(name for name, count in (await agent.call("status"))["records"].items() if count)
            await agent.text("outline", path="src/parse.py")  # an error before the first commit
            await agent.call("changes_since", since=moment)
            seconds.append(time.monotonic() - began)
            await anyio.sleep(0.5)  # an agent thinks
        assert run.returncode == 0, (tmp_path / "run").read_text()
        assert {entry["state"] for entry in await agent.pages("outline", path="src", depth=2)} <= {"completed", None}

        first = await agent.call("search", text="split a host name", limit=5)
        assert len(first["entries"]) == 5
        key = first["entries"][0]["key"]
        assert key.startswith("src/split.py")
        shown = await agent.call("show", key=key)
        assert shown["model"].startswith("dobby-code-11m")
        assert 0 < shown["record"]["confidence"] <= 1
        assert shown["record"]["current"]
        more = await agent.call("search", text="split a host name", limit=5, cursor=first["next"])
        keys = [entry["key"] for entry in first["entries"] + more["entries"]]
        assert len(set(keys)) == 10
        called = await agent.call("callers", key="src/parse.py::helper_7")
        assert called["entries"][0]["key"] == "src/parse.py::parse_7"
        changed = await agent.pages("changes_since", since=moment)
        assert sum(entry["summarized"] for entry in changed) >= 120

    over_stdio(talk, "--database", url, log=tmp_path / "log")
    assert (tmp_path / "log").read_text() == ""
    assert len(seconds) > 3
    assert {"in_progress", "pending", "completed"} & states
