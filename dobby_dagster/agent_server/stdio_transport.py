"""MCP over standard input and output, for a client that starts the server as its own process."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from io import TextIOWrapper
from typing import Any, BinaryIO, NoReturn, TextIO

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError


def serve_stdio(server: Server[Any, Any]) -> None:
    """Serve until standard input ends, the client is gone, or SIGTERM, which ends this process with status 0.

    Standard output is the protocol's alone: whatever else is printed goes to standard error.
    """
    signal.signal(signal.SIGTERM, _end)
    protocol = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        anyio.run(_serve, server, protocol)
    except* (BrokenPipeError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # the client is gone


async def _serve(server: Server[Any, Any], protocol: BinaryIO) -> None:
    refused, refusals = anyio.create_memory_object_stream[types.JSONRPCError](0)
    lines: Any = _Messages(TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace"), refused)
    answers = anyio.wrap_file(TextIOWrapper(protocol, encoding="utf-8"))
    async with stdio_server(lines, answers) as (requests, replies), anyio.create_task_group() as tasks:
        tasks.start_soon(_refuse, refusals, replies.clone())
        await server.run(requests, replies, server.create_initialization_options())


class _Messages:
    """The lines of a file that are messages; of the others the SDK would only tell its log.

    Args:
        file: Its lines.
        refused: Gets the answer to each other line.
    """

    def __init__(self, file: TextIO, refused: MemoryObjectSendStream[types.JSONRPCError]) -> None:
        self._file, self._refused = anyio.wrap_file(file), refused

    async def __aiter__(self) -> AsyncIterator[str]:
        async with self._refused:
            async for line in self._file:
                if why := refusal(line):
                    await self._refused.send(why)
                elif line.strip():
                    yield line


def refusal(line: str) -> types.JSONRPCError | None:
    """The answer to a line that is no message; None for a message, and for an empty line.

    >>> refusal('{"id": 1}').id, refusal('[').error.code, refusal(" ")
    (1, -32700, None)
    """
    if not line.strip():
        return None
    try:
        types.JSONRPCMessage.model_validate_json(line)
    except ValidationError:
        pass
    else:
        return None
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return _error("server-error", types.PARSE_ERROR, "the line is no JSON")
    number = message.get("id") if isinstance(message, dict) else None
    known = isinstance(number, int | str) and not isinstance(number, bool)
    return _error(number if known else "server-error", types.INVALID_REQUEST, "the line is no message of JSON-RPC 2.0")


def _error(number: Any, code: int, why: str) -> types.JSONRPCError:
    return types.JSONRPCError(jsonrpc="2.0", id=number, error=types.ErrorData(code=code, message=why))


async def _refuse(
    refusals: MemoryObjectReceiveStream[types.JSONRPCError], replies: MemoryObjectSendStream[SessionMessage]
) -> None:
    async with refusals, replies:
        async for why in refusals:
            await replies.send(SessionMessage(types.JSONRPCMessage(why)))


def _end(*_: object) -> NoReturn:
    """End at once: a thread that waits for standard input can't be stopped, and no write could be torn."""
    atexit._run_exitfuncs()
    os._exit(0)
