"""A model server that answers every request after the same time: what limits throughput is then the client alone."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.remote.server_engine import ServerEngine

MODEL = "fixed-latency"


@contextmanager
def fixed_latency_server(seconds: float) -> Iterator[str]:
    """The URL of a server in a process of its own, until the end of the block."""
    command = [sys.executable, "-m", "bench.fixed_latency", str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def served_engine(url: str, slots: int) -> ServerEngine:
    """The engine for that server, with ``slots`` requests in progress at most."""
    return ServerEngine(ModelSettings(url=url, served_name=MODEL), InferenceSettings(slots=slots, max_new_tokens=40))


def _app(seconds: float) -> Starlette:
    async def models(_: Request) -> JSONResponse:
        return JSONResponse({"data": [{"id": MODEL}]})

    async def complete(request: Request) -> JSONResponse:
        content = (await request.json())["messages"][-1]["content"]
        await asyncio.sleep(seconds)
        message = {"content": f"It says {' '.join(content.split()[:6])} indeed."}
        usage = {"prompt_tokens": len(content) // 4, "completion_tokens": 12}
        return JSONResponse({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

    return Starlette(routes=[Route("/v1/models", models), Route("/v1/chat/completions", complete, methods=["POST"])])


def _serve(seconds: float) -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", flush=True)
    config = uvicorn.Config(_app(seconds), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
