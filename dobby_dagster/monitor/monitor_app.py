"""The routes /health, /ready and /metrics."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import asdict

from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dobby_dagster.monitor.part_check import Part, all_ok
from dobby_dagster.monitor.system_monitor import Monitor

_NEVER_STORED = {"cache-control": "no-store"}


def monitor_app(monitor: Monitor, token: str | None) -> Starlette:
    """The ASGI application.

    /health and /ready answer anybody, as probes need it: 200, or 503 where a part fails, with the name of each part.
    What was found, and the metrics, are only for this machine or a request with the token.

    Args:
        monitor: What is served.
        token: Bearer token; None where only this machine can reach the server.
    """

    def parts(examine: Callable[[], Mapping[str, Part]]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            found = examine()
            fields = {"ok", "message", "seconds"} if _may_read(request, token) else {"ok"}
            described = {
                name: {field: value for field, value in asdict(part).items() if field in fields}
                for name, part in found.items()
            }
            ok = all_ok(found.values())
            return JSONResponse({"ok": ok, "parts": described}, 200 if ok else 503, _NEVER_STORED)

        return answer

    def metrics(request: Request) -> Response:
        if not _may_read(request, token):
            return PlainTextResponse("send the token as authorization: Bearer\n", 401, {"www-authenticate": "Bearer"})
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(monitor.registry), headers={"content-type": content_type, **_NEVER_STORED})

    return Starlette(
        routes=[
            Route("/health", parts(monitor.health)),
            Route("/ready", parts(monitor.ready)),
            Route("/metrics", metrics),
        ]
    )


def _may_read(request: Request, token: str | None) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return token is None or (scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()))
