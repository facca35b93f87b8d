"""A coding agent: the SDK's own client, in this process, over standard input and output, and over HTTP."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.memory import create_connected_server_and_client_session

from dobby_dagster.agent_server.answer import ANSWER_BYTES
from dobby_dagster.agent_server.server import build_server
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster_tests.helpers.command import PROCESS

SECONDS = 240


class Agent:
    """A session, and what every answer has to be."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The fields of an answer that is no error."""
        result = await self.session.call_tool(tool, arguments)
        assert not result.isError, result.content
        assert len(result.model_dump_json(by_alias=True, exclude_none=True).encode()) <= ANSWER_BYTES
        assert result.structuredContent is not None
        return result.structuredContent

    async def text(self, tool: str, **arguments: Any) -> str:
        """The text of an answer, error or not."""
        return text_of(await self.session.call_tool(tool, arguments))

    async def refused(self, tool: str, **arguments: Any) -> str:
        """The one line of an error."""
        result = await self.session.call_tool(tool, arguments)
        assert result.isError, result
        assert "\n" not in text_of(result)
        return text_of(result)

    async def pages(self, tool: str, **arguments: Any) -> list[dict[str, Any]]:
        """All entries, page by page."""
        entries: list[dict[str, Any]] = []
        while True:
            answer = await self.call(tool, **arguments)
            entries += answer["entries"]
            if answer["next"] is None:
                return entries
            assert answer["entries"], "a page that is not the last has something"
            arguments["cursor"] = answer["next"]


Conversation = Callable[[Agent], Awaitable[None]]


def text_of(result: types.CallToolResult) -> str:
    [block] = result.content
    assert isinstance(block, types.TextContent)
    return block.text


def in_process(url: str, talk: Conversation, **settings: Any) -> None:
    """``talk`` to a server in this process that reads the database at ``url``."""
    arguments = {"database.url": url} | {name.replace("__", "."): value for name, value in settings.items()}

    async def session() -> None:
        server = build_server(
            lambda memory: load_settings(arguments, environment={}, memory=memory).settings, lambda hint: hint
        )
        with anyio.fail_after(SECONDS):
            async with create_connected_server_and_client_session(server) as connected:
                await talk(Agent(connected))

    anyio.run(session)


def over_stdio(talk: Conversation, *arguments: str, log: Path) -> None:
    """``talk`` to ``dobby mcp`` as a process of its own; its standard error goes to ``log``."""

    async def session() -> None:
        command = StdioServerParameters(
            command=PROCESS[0], args=[*PROCESS[1:], "mcp", *arguments], env=dict(os.environ)
        )
        with anyio.fail_after(SECONDS), log.open("w") as errors:
            async with stdio_client(command, errors) as streams, ClientSession(*streams) as connected:
                await connected.initialize()
                await talk(Agent(connected))

    anyio.run(session)


def over_http(talk: Conversation, url: str, token: str | None = None) -> None:
    """``talk`` to the server at ``url``."""

    async def session() -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        with anyio.fail_after(SECONDS):
            async with (
                httpx.AsyncClient(headers=headers, timeout=SECONDS) as client,
                streamable_http_client(url, http_client=client) as (requests, replies, _),
                ClientSession(requests, replies) as connected,
            ):
                await connected.initialize()
                await talk(Agent(connected))

    anyio.run(session)
