"""MCP over streamable HTTP: each request is answered by itself, without a session."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

PATH = "/mcp"
# A call is a few kilobytes.
REQUEST_BYTES = 256_000


def http_app(server: Server[Any, Any], token: str | None) -> Starlette:
    """The ASGI application; behind a guard that checks host and origin.

    Args:
        server: What is served.
        token: Bearer token of every request; None requires none.
    """
    sessions = StreamableHTTPSessionManager(
        server, json_response=True, stateless=True, max_request_body_size=REQUEST_BYTES
    )

    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        async with sessions.run():
            yield

    return Starlette(routes=[Route(PATH, _Authorized(sessions, token), methods=["POST"])], lifespan=running)


class _Authorized:
    """Passes on requests with the token."""

    def __init__(self, sessions: StreamableHTTPSessionManager, token: str | None) -> None:
        self._sessions, self._token = sessions, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if self._token is not None and not (
            scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token.encode())
        ):
            why = PlainTextResponse("send the token as authorization: Bearer\n", 401, {"www-authenticate": "Bearer"})
            await why(scope, receive, send)
            return
        await self._sessions.handle_request(scope, receive, send)
