"""``dobby mcp`` over standard input and output, as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.schema import LATEST, set_meta
from dobby_dagster_tests.agent_server.conftest import URL
from dobby_dagster_tests.helpers.agent_client import Agent, over_stdio
from dobby_dagster_tests.helpers.command import PROCESS

FIRST = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}


class Server:
    """The process, spoken to line by line."""

    def __init__(self, *arguments: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*PROCESS, "mcp", *arguments], stdin=pipe, stdout=pipe, stderr=pipe)
        self._number = 0

    def send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def request(self, method: str, params: Any) -> dict[str, Any]:
        """The answer to one request; notifications before it are left out."""
        self._number += 1
        self.send(json.dumps({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}).encode())
        while (answer := self.read()).get("id") != self._number:
            assert "id" not in answer, answer
        return answer

    def begin(self) -> None:
        assert "Dobby has a short summary" in self.request("initialize", FIRST)["result"]["instructions"]
        self.send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')

    def call(self, tool: str, arguments: Any) -> tuple[bool, str]:
        """Whether a call failed, and its text."""
        result = self.request("tools/call", {"name": tool, "arguments": arguments})["result"]
        return result["isError"], result["content"][0]["text"]

    def ended(self) -> tuple[int, bytes, bytes]:
        """Status, standard output and error that are left."""
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def server(tree: CozoStore) -> Iterator[Server]:
    started = Server("--database", URL)
    yield started
    started.process.kill()
    started.process.wait()


def test_a_conversation(tree: CozoStore, tmp_path: Path) -> None:
    async def talk(agent: Agent) -> None:
        assert len((await agent.session.list_tools()).tools) >= 4
        first = await agent.call("outline", path="src", depth=9, limit=2)
        rest = await agent.pages("outline", path="src", depth=9, cursor=first["next"])
        everything = first["entries"] + rest
        assert len({entry["key"] for entry in everything}) == len(everything) == 10
        assert (await agent.call("show", key=everything[-1]["key"]))["content"].startswith("# Version 1.2")

    over_stdio(talk, "--database", URL, log=tmp_path / "log")
    assert (tmp_path / "log").read_text() == ""


def test_the_end_of_the_input_ends_it(server: Server) -> None:
    server.begin()
    assert server.call("status", {})[0] is False
    assert server.ended() == (0, b"", b"")


@pytest.mark.parametrize("sent", [signal.SIGTERM])
def test_a_signal_ends_it(server: Server, sent: signal.Signals) -> None:
    server.begin()
    server.process.send_signal(sent)
    assert server.ended() == (0, b"", b"")


def test_nonsense_is_refused_and_the_server_lives_on(server: Server) -> None:
    server.begin()
    for line in (b"no json", b"{", b"\xff\xfe", b"[" * 10_000):
        server.send(line)
        assert server.read()["error"] == {"code": -32700, "message": "the line is no JSON"}
    for line in (b"[]", b'"text"', b'{"jsonrpc": "1.0"}', b'{"jsonrpc": "2.0", "id": 7}'):
        server.send(line)
        assert server.read()["error"]["code"] == -32600
    server.send(b"")
    assert server.request("tools/none", {})["error"]["code"] in (-32601, -32602)
    for params in ({}, {"name": 5}, {"name": "show", "arguments": []}, None, "text"):
        assert "error" in server.request("tools/call", params)
    unknown = server.request("tools/call", {"name": "outlin"})
    assert unknown["error"]["message"] == "there is no tool 'outlin' (did you mean 'outline'?)"
    for arguments, why in (
        ({"limit": -1}, "limit = -1 is invalid: must be greater than or equal to 1"),
        ({"limit": 10**30}, "must be less than or equal to 200"),
        ({"limit": "many"}, "limit = 'many' is invalid: must be a valid integer"),
        ({"depth": 1.5}, "depth = 1.5 is invalid"),
        ({"pth": "src"}, "unknown argument 'pth' (did you mean 'path'?)"),
        ({"path": ["src"]}, "path = ['src'] is invalid: must be a valid string"),
        ({"path": "x" * 100_000}, "must have at most 1000 characters"),
        ({"path": "\x1b[31m\u202e'"}, "there is nothing at '\\x1b[31m\\u202e''"),
        ({"path": '"}; ?[a] <- [[1]]'}, "there is nothing at"),
    ):
        failed, text = server.call("outline", arguments)
        assert failed
        assert why in text
        assert len(text) < 1_000
    assert server.call("show", {}) == (True, "the argument 'key' is missing")
    assert server.call("show", {"key": "src/a.py::one"})[0] is False


def test_a_database_that_is_gone_or_newer_is_an_error_of_the_call(server: Server, tree: CozoStore) -> None:
    server.begin()
    os.rename("code.db", "away.db")
    assert server.call("outline", {})[1].startswith("there is no database at sqlite:///code.db")
    os.rename("away.db", "code.db")
    assert server.call("outline", {})[0] is False
    set_meta(tree.connection, "schema_version", LATEST + 1)
    failed, text = server.call("outline", {})
    assert (failed, text) == (
        True,
        f"sqlite:///code.db has schema version {LATEST + 1}, this Dobby knows {LATEST} (upgrade dobby-dagster)",
    )
    set_meta(tree.connection, "schema_version", LATEST)
    assert server.call("outline", {})[0] is False


@pytest.mark.slow
def test_a_database_that_another_process_has_locked_is_an_error_of_the_call(
    tree: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOBBY_DATABASE_LEASE_TIMEOUT_SECONDS", "0.5")
    with tree.connection.session(write=True):
        server = Server("--database", URL)
        server.begin()
        failed, text = server.call("status", {})
    assert failed
    assert text.startswith("the database is in use by process ")
    assert server.call("status", {})[0] is False
    assert server.ended()[0] == 0


def test_a_database_without_summaries_says_how_to_get_them(tree: CozoStore, tmp_path: Path) -> None:
    for row in tree.recipes.all():
        tree.upkeep.purge(row["recipe"])

    async def talk(agent: Agent) -> None:
        assert await agent.refused("outline") == (
            "no record of 'record' has been summarised yet (run dobby summarize --database sqlite:///code.db)"
        )

    over_stdio(talk, "--database", URL, log=tmp_path / "log")
