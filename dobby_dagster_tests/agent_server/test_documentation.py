"""What docs/agents.md shows is what works."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.cli.agents_page import FILE
from dobby_dagster.domain.settings import McpSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.agent_client import Agent, over_stdio
from dobby_dagster_tests.helpers.command import COMMANDS


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", FILE.read_text(encoding="utf-8"), re.DOTALL)


def configured() -> list[dict[str, Any]]:
    files = [json.loads(block) for block in blocks("json")]
    return [server for file in files for servers in file.values() for server in servers.values()]


def test_each_configuration_starts_a_server(tree: CozoStore, tmp_path: Path) -> None:
    async def talk(agent: Agent) -> None:
        assert (await agent.call("status"))["relation"] == "record"

    started = [server for server in configured() if "command" in server]
    assert [server["command"] for server in started] == ["dobby", "dobby"]
    [arguments] = {tuple(server["args"]) for server in started}
    command, *rest = [word.replace("/home/me", str(tmp_path)) for word in arguments]
    assert command in COMMANDS
    over_stdio(talk, *rest, log=tmp_path / "log")


def test_the_address_is_that_of_the_settings() -> None:
    [url] = [server["url"] for server in configured() if "url" in server]
    assert url == f"http://{McpSettings().host}:{McpSettings().port}/mcp"


def test_the_retrieval_in_a_program(tree: CozoStore, capfd: pytest.CaptureFixture[str]) -> None:
    program, _ = blocks("python")
    exec(program.replace("split a host name", "four"), {})
    assert "src/inner/b.js::four It says" in capfd.readouterr().out


def test_the_retriever_of_langchain(tree: CozoStore) -> None:
    pytest.importorskip("langchain_core", reason="the package langchain-core is not installed")
    names: dict[str, Any] = {}
    for program in blocks("python"):
        exec(program.replace("split a host name", "four"), names)
    assert names["documents"][0].metadata["key"] == "src/inner/b.js::four"
    assert names["documents"][0].page_content.startswith("It says")
