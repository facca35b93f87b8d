"""A webhook's server for tests: it keeps what it gets, and answers as it is told."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATH = "/hooks/secret-part-0123456789"


class Hook:
    """A server on ``port``, by default a free one.

    Attributes:
        got: The JSON bodies of all requests that were answered with 200.
        answers: Statuses of the next answers; 200 when there are none left.
    """

    def __init__(self, port: int = 0) -> None:
        self.got: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.answers: list[int] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status = outer.answers.pop(0) if outer.answers else 200
                outer.paths.append(self.path)
                if status == 200:
                    outer.got.append(body)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *ignored: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}{PATH}"

    def statuses(self, kind: str) -> list[str]:
        """``open`` and ``resolved``, of the alerts of ``kind``, in the order of their arrival."""
        return [sent["status"] for sent in self.got if sent.get("kind") == kind]

    def _serve(self) -> None:
        self._server.serve_forever(0.01)

    def start(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def running_hook(port: int = 0) -> Iterator[Hook]:
    hook = Hook(port)
    hook.start()
    try:
        yield hook
    finally:
        hook.stop()
