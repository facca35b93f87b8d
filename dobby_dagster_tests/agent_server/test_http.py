"""``dobby mcp --http``: who may use it, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.agent_server.conftest import URL
from dobby_dagster_tests.helpers.agent_client import Agent, over_http
from dobby_dagster_tests.helpers.command import PROCESS, Dobby

TOKEN = "a-secret-of-the-agent"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"accept": "application/json, text/event-stream"}


class Served:
    """The process, and where it listens."""

    def __init__(self, token: str = "") -> None:
        command = [*PROCESS, "mcp", "--http", "--port", "0", "--database", URL]
        environment = {**os.environ, "DOBBY_MCP_TOKEN": token, "COLUMNS": "200"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        found = re.search(r"http://\S+/mcp", said)
        assert found, said
        self.url = found[0]

    def post(self, json: object = CALL, **headers: str) -> httpx.Response:
        return httpx.post(self.url, json=json, headers=HEADERS | headers, timeout=30)


@pytest.fixture
def served(tree: CozoStore) -> Iterator[Served]:
    started = Served()
    yield started
    started.process.kill()
    started.process.communicate()


def test_an_agent_talks_to_it_and_sigterm_ends_it(served: Served) -> None:
    async def talk(agent: Agent) -> None:
        first = await agent.call("outline", path="src", depth=9, limit=2)
        assert len(await agent.pages("outline", path="src", depth=9, cursor=first["next"])) == 8
        assert "did you mean 'src/a.py::one'?" in await agent.refused("show", key="src/a.py::onne")

    over_http(talk, served.url)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.communicate(timeout=30)[1] == ""
    assert served.process.returncode == 0


def test_pages_of_other_origins_and_other_names_are_refused(served: Served) -> None:
    port = served.url.split(":")[2].partition("/")[0]
    assert served.post().status_code == 200
    assert served.post(host=f"localhost:{port}").status_code == 200
    assert served.post(host=f"evil.test:{port}").status_code == 421
    assert served.post(origin="http://evil.test").status_code == 403
    assert served.post(**{"sec-fetch-site": "cross-site"}).status_code == 403
    form = {**HEADERS, "content-type": "text/plain"}
    assert httpx.post(served.url, content="{}", headers=form).status_code == 415
    assert httpx.get(served.url, headers=HEADERS).status_code == 405
    assert httpx.delete(served.url).status_code == 405
    assert httpx.post(served.url.replace("/mcp", "/"), json=CALL).status_code == 404


def test_nonsense_is_refused_and_the_server_lives_on(served: Served) -> None:
    json = {"content-type": "application/json"}
    for content in (b"", b"{", b"[]", b"null"):
        assert httpx.post(served.url, content=content, headers=HEADERS | json).status_code == 400
    for content in (b"\xff", b"[" * 100_000):
        assert httpx.post(served.url, content=content, headers=HEADERS | json).status_code == 500  # by the SDK
    assert httpx.post(served.url, content=b" " * 300_000, headers=HEADERS | json).status_code == 413
    assert served.post().json()["result"]["tools"]


def test_with_a_token_every_request_needs_it(tree: CozoStore) -> None:
    served = Served(TOKEN)
    try:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
            assert served.post(**headers).status_code == 401
        assert served.post(authorization=f"Bearer {TOKEN}").status_code == 200

        async def talk(agent: Agent) -> None:
            assert (await agent.call("status"))["relation"] == "record"

        over_http(talk, served.url, TOKEN)
    finally:
        served.process.kill()
        served.process.communicate()


@pytest.mark.parametrize("option", ["--port", "--host", "--allow-host"])
def test_options_of_the_http_server_need_http(dobby: Dobby, tree: CozoStore, option: str) -> None:
    answer = dobby("mcp", option, "3999", "--database", URL)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"error: {option} needs --http (add --http, or leave it out)\n"


def test_others_need_a_token(dobby: Dobby, tree: CozoStore) -> None:
    answer = dobby("mcp", "--http", "--host", "0.0.0.0", "--port", 0, "--database", URL)
    assert answer.code == 1
    assert answer.err == (
        "error: --host 0.0.0.0 can be reached by others, and mcp.token is not set (set DOBBY_MCP_TOKEN to a secret)\n"
    )
