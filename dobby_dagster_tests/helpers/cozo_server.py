"""A server that speaks the HTTP interface of ``cozo server`` 0.7.6 over the embedded engine, and can be told to fail.

The real server's binary is in no package registry. This one was written beside its source, ``cozo-bin/src/server.rs``,
``cozo-core/src/data/json.rs`` and ``cozo-bin/README.md`` of cozodb/cozo, and the client ``pycozo`` 0.7.6. What it was
held against, point by point; ``dobby_dagster_tests/store/test_cozo_server.py`` has a test for each:

====================================  ==================================================================================
point                                 the real server, and this one
====================================  ==================================================================================
``POST /text-query``                  ``{script, params, immutable?}``; 200 ``{ok: true, headers, rows, next, took}``, else
                                      400 ``{ok: false, message, display, code, severity, causes, labels, …}``
``immutable``                         optional, false where missing; true refuses whatever would write
``GET /export/a,b``                   ``{ok: true, data: {a: {headers, rows, next}, …}}``, else 400 ``{ok: false, message}``
``PUT /import``                       the ``data`` of an export; the relations must exist; triggers do not run
``POST /backup``                      ``{path}``, a new file on the server's machine
``POST /import-from-backup``          ``{path, relations}``; the relations must exist
``x-cozo-auth``                       the token, or ``?auth=`` where there is no such header; else 401 with an empty body.
                                      Only a server that is bound to 127.0.0.1 asks for none
another path                          404 ``{ok: false, message: "No route /x"}``; another method 405, empty
a request that is not JSON            400 as text; 422 as text for a missing field; 415 without ``content-type``
a panic                               500 ``{ok: false, message}``
length of a request                   unlimited from 0.7.6; 2 MB before, and in many a proxy: 413 as text
requests as JSON (serde_json)         neither NaN nor lone surrogates; at most 127 levels; integers past 64 bits and about
                                      one in eight fractions of 16 or 17 digits become another float
results as JSON                       bytes are base64, a UUID its text, a validity ``[microseconds, bool]``, sets and vectors
                                      lists; NaN is null, infinities are "INFINITY" and "NEGATIVE_INFINITY"
connections                           HTTP/1.1, kept alive
====================================  ==================================================================================

Not here, since Dobby uses none of it: ``/changes``, ``/rules``, ``/rule-result``, ``/transact``, the page at ``/``, CORS,
compression, and tokens in a table. Where the two differ: a JSON integer between 2**63 and 2**64 in a result is exact there,
and the nearest float here.
"""

from __future__ import annotations

import base64
import json
import math
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pycozo.client import Client, QueryException

DEEPEST = 127
Answer = dict[str, Any]


class CozoServer(ThreadingHTTPServer):
    """``trouble`` is a list of things to do before the next requests.

    They are a status to answer, ``"hang"``, ``"drop"``, or ``"lost"``: the request is executed, and its answer is lost.

    Attributes:
        requests: How many came.
        connections: How many were opened.
        longest_request: In bytes; a longer one is answered by 413.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, token: str | None = None, engine: str = "mem", path: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.database = Client(engine, path, dataframe=False)
        self.token = token
        self.trouble: list[int | str] = []
        self.requests = self.connections = 0
        self.longest_request: float = math.inf
        self.lock = threading.Lock()
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, Any]:
        opened, address = super().get_request()
        self.connections += 1
        self._open.add(opened)
        return opened, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End those that are kept alive."""
        for opened in list(self._open):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: clients of tests go away in the middle of an answer."""


class _Refused(Exception):
    """A request that is answered by a status and a text before any query."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status, self.text = status, text


class _Handler(BaseHTTPRequestHandler):
    server: CozoServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PUT(self) -> None:
        self._handle("PUT")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def _handle(self, method: str) -> None:
        self.server.requests += 1
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        trouble = self.server.trouble.pop(0) if self.server.trouble else None
        if trouble in ("hang", "drop", "lost"):
            self.close_connection = True
            if trouble == "hang":
                time.sleep(1.0)
            if trouble == "lost":
                self._answer(method, raw)
            self.connection.shutdown(socket.SHUT_RDWR)
        elif isinstance(trouble, int):
            self._send(trouble, b"trouble")
        else:
            self._send(*self._answer(method, raw))

    def _answer(self, method: str, raw: bytes) -> tuple[int, bytes]:
        try:
            action = self._routed(method, raw)
            with self.server.lock:
                answer = action()
            return 200, json.dumps({"ok": True, **_as_json(answer)}, allow_nan=False).encode()
        except _Refused as refused:
            return refused.status, refused.text.encode()
        except QueryException as error:
            # Restored databases and a few others give a text where a query gives an object.
            said = error.resp if isinstance(error.resp, dict) else {"message": str(error.resp)}
            return 400, json.dumps({**said, "ok": False}).encode()
        except Exception as error:
            return 400, json.dumps({"ok": False, "message": str(error)}).encode()
        except BaseException as error:  # a panic of the engine
            return 500, json.dumps({"ok": False, "message": f"task panicked: {error}"}).encode()

    def _routed(self, method: str, raw: bytes) -> Callable[[], Answer]:
        """The action of the path; its body is read before, as by the real server."""
        path = urlsplit(self.path)
        token = self.headers.get("x-cozo-auth") or parse_qs(path.query).get("auth", [""])[0]
        if self.server.token and token != self.server.token:
            raise _Refused(401)
        database = self.server.database
        if path.path.startswith("/export/"):
            self._require("GET", method)
            names = [name for name in unquote(path.path.removeprefix("/export/")).split(",") if name]
            return lambda: {"data": database.export_relations(names)}
        routes = {"/text-query": "POST", "/import": "PUT", "/backup": "POST", "/import-from-backup": "POST"}
        if path.path not in routes:
            raise _Refused(404, json.dumps({"ok": False, "message": f"No route {self.path}"}))
        self._require(routes[path.path], method)
        body = self._body(raw)
        if path.path == "/text-query":
            script, params = _field(body, "script", str), _field(body, "params", dict)
            return lambda: database.run(script, params, bool(body.get("immutable")))
        if path.path == "/import":
            return lambda: database.import_relations(body) or {}
        target = _field(body, "path", str)
        if path.path == "/backup":
            return lambda: database.backup(target) or {}
        names = _field(body, "relations", list)
        return lambda: database.import_from_backup(target, names) or {}

    @staticmethod
    def _require(wanted: str, method: str) -> None:
        if method != wanted:
            raise _Refused(405)

    def _body(self, raw: bytes) -> Any:
        if len(raw) > self.server.longest_request:
            raise _Refused(413, "length limit exceeded")
        if self.headers.get("Content-Type") != "application/json":
            raise _Refused(415, "Expected request with `Content-Type: application/json`")
        return _from_json(raw)

    def _send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data)


def _field(body: Any, name: str, kind: type) -> Any:
    if not isinstance(body, dict) or not isinstance(body.get(name), kind):
        raise _Refused(422, f"Failed to deserialize the JSON body into the target type: missing field `{name}`")
    return body[name]


def _from_json(raw: bytes) -> Any:
    """What serde_json reads."""
    try:
        if max(raw.count(b"["), raw.count(b"{")) > DEEPEST // 2 and _levels(raw) > DEEPEST:
            raise ValueError("recursion limit exceeded")
        body = json.loads(raw, parse_float=_serde_float, parse_constant=_no_constant)
        if b"\\ud" in raw.lower():
            json.dumps(body, ensure_ascii=False).encode()
        return body
    except ValueError as error:
        raise _Refused(400, f"Failed to parse the request body as JSON: {error}") from None


def _levels(raw: bytes) -> int:
    depth = deepest = 0
    for mark in re.findall(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', raw):
        if mark in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif mark in (b"]", b"}"):
            depth -= 1
    return deepest


def _no_constant(text: str) -> Any:
    raise ValueError(f"expected value, got {text}")


def _serde_float(text: str) -> float:
    digits = sum(map(str.isdigit, text))
    return float(text) if digits <= 15 and "e" not in text.lower() else _engine_float(text)


@lru_cache(maxsize=100_000)
def _engine_float(text: str) -> float:
    """As the engine's own serde_json reads the fraction ``text``."""
    [[value]] = _calculator().run("?[x] := x = parse_json($text)", {"text": text})["rows"]
    return float(value)


@lru_cache(maxsize=1)
def _calculator() -> Client:
    return Client("mem", "", dataframe=False)


def _as_json(value: Any) -> Any:
    """A result as ``json.rs`` writes it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "INFINITY" if value > 0 else "NEGATIVE_INFINITY"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: _as_json(inner) for name, inner in value.items()}
    return [_as_json(inner) for inner in value] if isinstance(value, list | tuple) else value


@contextmanager
def running_server(token: str | None = None, engine: str = "mem", path: str = "") -> Iterator[CozoServer]:
    server = CozoServer(token, engine, path)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.close_connections()
        server.server_close()
