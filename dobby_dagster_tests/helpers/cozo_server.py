"""A small server that speaks Cozo's documented HTTP interface over the embedded engine.

The real server's binary is in no package registry. This one answers ``/text-query``, ``/export``, ``/import`` and
``/backup`` as its documentation says, and can be told to fail.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pycozo.client import Client, QueryException


class CozoServer(ThreadingHTTPServer):
    """``trouble`` is a list of things to do before the next requests.

    They are a status to answer, ``"hang"``, ``"drop"``, or ``"lost"``: the request is executed, and its answer is lost.
    """

    daemon_threads = True

    def __init__(self, token: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.database = Client("mem", "", dataframe=False)
        self.token = token
        self.trouble: list[int | str] = []
        self.requests = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: CozoServer

    def log_message(self, *args: Any) -> None:
        pass

    def do_PUT(self) -> None:
        self._handle(lambda: self.server.database.import_relations(self._body()) or {})

    def do_POST(self) -> None:
        if self.path == "/backup":
            self._handle(lambda: self.server.database.backup(self._body()["path"]) or {})
            return
        self._handle(self._query)

    def _query(self) -> dict[str, Any]:
        body = self._body()
        return self.server.database.run(body["script"], body["params"], body.get("immutable", False))

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _handle(self, action: Any) -> None:
        self.server.requests += 1
        trouble = self.server.trouble.pop(0) if self.server.trouble else None
        if trouble == "hang":
            time.sleep(1.0)
            return
        if trouble == "drop":
            self.connection.close()
            return
        if trouble == "lost":
            with self.server.lock:
                action()
            self.connection.close()
            return
        if isinstance(trouble, int):
            self._send(trouble, b"trouble")
            return
        if self.server.token and self.headers.get("x-cozo-auth") != self.server.token:
            self._send(401, b"{}")
            return
        try:
            with self.server.lock:
                answer = action()
            self._send(200, json.dumps({"ok": True, **answer}, default=_base64).encode())
        except QueryException as error:
            self._send(400, json.dumps({**error.resp, "ok": False}).encode())
        except Exception as error:
            self._send(400, json.dumps({"ok": False, "message": str(error)}).encode())

    def _send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _base64(value: Any) -> str:
    import base64

    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


@contextmanager
def running_server(token: str | None = None) -> Iterator[CozoServer]:
    server = CozoServer(token)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
