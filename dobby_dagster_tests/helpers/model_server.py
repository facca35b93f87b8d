"""A model server for tests that answers as it is told, and an engine that asks it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Failure, Generation, Request
from dobby_dagster.inference.remote.server_engine import ServerEngine
from dobby_dagster_tests.helpers.local_engines import PROMPT

Reply = tuple[int, dict[str, str], Any]
GOOD = {"choices": [{"message": {"content": "It adds two numbers."}, "finish_reason": "stop"}]}


def engine_at(url: str, name: str = "small", timeout_seconds: float = 20, **settings: object) -> ServerEngine:
    inference = InferenceSettings.model_validate({"slots": 4, "max_new_tokens": 8} | settings)
    return ServerEngine(ModelSettings(url=url, served_name=name, timeout_seconds=timeout_seconds), inference)


class Scripted:
    """A server that answers as it is told, and remembers what it was asked."""

    def __init__(self, reply: Callable[[int, dict[str, Any]], Reply], models: Reply | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.tokens: list[str | None] = []
        self.most = 0
        under_way, lock, outer = [0], threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send(*(models or (200, {}, {"data": [{"id": "small"}]})))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    outer.asked.append(body)
                    outer.keys.append(self.headers.get("authorization"))
                    outer.tokens.append(self.headers.get("x-cozo-auth"))
                    under_way[0] += 1
                    outer.most = max(outer.most, under_way[0])
                    number = len(outer.asked)
                answer = reply(number, body)
                with lock:
                    under_way[0] -= 1
                self.send(*answer)

            def send(self, status: int, headers: dict[str, str], body: Any) -> None:
                if callable(body):  # it writes its answer itself, and may never end
                    self.close_connection = True
                    self.send_response(status)
                    self.end_headers()
                    body(self.wfile.write)
                    return
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *ignored: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *ignored: None  # clients that are closed hang up
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def said(text: str = "It adds.", **more: Any) -> Reply:
    choice = {"message": {"content": text}, "finish_reason": "stop"} | more
    return 200, {}, {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}


def good(**more: Any) -> dict[str, Any]:
    return {"choices": [GOOD["choices"][0] | more]}


def ask(reply: Reply | Callable[[int, dict[str, Any]], Reply], **settings: Any) -> Generation | Failure:
    """What becomes of the one record that gets ``reply``; all others around it must be summarised."""
    scripted = reply if callable(reply) else lambda n, body: reply
    script = lambda n, body: scripted(n, body) if "BAD" in body["messages"][-1]["content"] else said("Others.")  # noqa: E731
    with Scripted(script) as server:
        wanted = [Request("bad", "BAD"), *(Request(f"r{i}", f"x = {i}") for i in range(5))]
        engine = engine_at(server.url, **({"slots": 2} | settings))
        answers = {answer.id: answer for answer in engine.infer(wanted, PROMPT)}
        engine.close()
    assert len(answers) == 6
    for i in range(5):
        assert isinstance(answers[f"r{i}"], Generation)
    return answers["bad"]
