"""The guard in front of Dagster's web server, which itself has no login and does not check a request's origin.

A browser sends any request that a web page makes. So a page of another origin must not send a mutation, open a
websocket, show the UI in a frame, or reach it under a host name that it has pointed at this machine (DNS rebinding).
The guard does not know Dagster's routes: it refuses every request that is not known to be harmless.
"""

from __future__ import annotations

import hmac
import re
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from dobby_dagster.cli.server.listening_address import Names
from dobby_dagster.cli.server.login_secret import LOGIN_PATH
from dobby_dagster.domain.printable import message

COOKIE_SECONDS = 30 * 86_400
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.IGNORECASE)
_READING = {"GET", "HEAD"}
# Added to Dagster's own policy, which allows any images, connections and frames.
_POLICY = (
    "frame-ancestors 'none'; frame-src 'none'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "img-src 'self' data: blob:; media-src 'self'; font-src 'self' data:; connect-src 'self' ws://{host} wss://{host}"
)
_HEADERS = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """An ASGI application around another that passes on only requests from the server's own pages or from no browser.

    Args:
        app: Dagster's web server.
        names: Host names that requests may use.
        token: Required as a cookie or bearer token; None requires no login.
    """

    def __init__(self, app: ASGIApp, names: Names, token: str | None = None) -> None:
        self._app, self._names, self._token = app, names, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "http":
            connection = HTTPConnection(scope)
            answer = self._refusal(connection) or self._cross_origin_form(connection) or self._login(connection)
            await (answer or self._app)(scope, receive, _protected(send, connection.headers))
        elif scope["type"] == "websocket":
            connection = HTTPConnection(scope)
            refused = self._refusal(connection) or self._login(connection)
            await (WebSocketClose(1008, "refused") if refused else self._app)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, connection: HTTPConnection) -> Response | None:
        """The refusal of a request with a wrong host or from another origin; None if both are right."""
        headers = connection.headers
        hosts = headers.getlist("host")
        found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if found is None or found["name"] not in self._names:
            return _refuse(421, f"unknown host '{', '.join(hosts)}'; --allow-host adds one")
        own = {f"{scheme}://{hosts[0].lower()}" for scheme in ("http", "https")}
        for origin in headers.getlist("origin"):
            if origin.lower() not in own:
                return _refuse(403, f"a page of '{origin}' may not use this server")
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not _is_navigation(connection):
            return _refuse(403, "a page of another origin may not use this server")
        return None

    def _cross_origin_form(self, connection: HTTPConnection) -> Response | None:
        """The refusal of a request that a page of another origin could send, too; None for all others."""
        method, headers = connection.scope["method"], connection.headers
        if method in _READING:
            page = method == "GET" and "text/html" in headers.get("accept", "")
            graphql = connection.scope["path"].rstrip("/").endswith("/graphql")
            return _refuse(405, "GraphQL requires POST") if graphql and not page else None
        if method != "POST":
            return _refuse(405, f"{method} is not used here")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _refuse(415, "the content type must be application/json")
        return None

    def _login(self, connection: HTTPConnection) -> Response | None:
        """The answer to a login, or to a request without one; None for a request that is logged in."""
        if self._token is None:
            return None
        if connection.scope["path"] == LOGIN_PATH and connection.scope.get("method") == "GET":
            given = parse_qs(connection.scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if not self._is_token(given):
                return _refuse(401, "this login link is not valid, or no longer; dobby dev prints the current one")
            answer = RedirectResponse("/", 303)
            answer.set_cookie(_cookie(connection), self._token, COOKIE_SECONDS, httponly=True, samesite="lax")
            return answer
        scheme, _, bearer = connection.headers.get("authorization", "").partition(" ")
        if self._is_token(connection.cookies.get(_cookie(connection), "")) or (
            scheme.lower() == "bearer" and self._is_token(bearer.strip())
        ):
            return None
        return _refuse(401, "open the login link that dobby dev prints")

    def _is_token(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())


def _cookie(connection: HTTPConnection) -> str:
    """The cookie's name, with the port, since browsers share cookies between the ports of a host."""
    return f"dobby_login_{connection.scope['server'][1]}"


def _is_navigation(connection: HTTPConnection) -> bool:
    """Whether the browser follows a link to a page here, rather than loading a frame, a script or an image."""
    headers = connection.headers
    return (
        connection.scope.get("method") in _READING
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _refuse(status: int, why: str) -> Response:
    return PlainTextResponse(message(why) + "\n", status)


def _protected(send: Send, request: Headers) -> Send:
    """``send``, which adds the headers that make a browser keep other origins out."""

    async def protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            if _HOST.fullmatch(request.get("host", "")):
                headers.append("content-security-policy", _POLICY.format(host=request["host"]))
        await send(message)

    return protected
