"""``dobby dev`` as an attacker meets it: a web page of another origin, and a listener at every address."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from dobby_dagster_tests.helpers.browser import browser, until
from dobby_dagster_tests.helpers.records import prepared
from dobby_dagster_tests.helpers.webserver import Served, dagster_dev

__all__ = ["browser"]
ADD = (
    'mutation { addDynamicPartition(partitionsDefName: "record_batches", partitionKey: "%s", repositorySelector: '
    '{repositoryLocationName: "dobby", repositoryName: "__repository__"}) { __typename } }'
)
PAGE = """<html><body><script>
const said = [], tell = (what) => { said.push(what); document.title = said.join(" "); };
const url = "URL/graphql?query=" + encodeURIComponent(`ADD`);
const post = (options) => fetch(url, {method: "POST", credentials: "include", ...options});
post({mode: "no-cors", body: "x"}).finally(() => tell("posted"));
fetch(url, {mode: "no-cors", credentials: "include"}).finally(() => tell("asked"));
post({headers: {"content-type": "application/json"}, body: "{}"}).then(() => tell("READ"), () => tell("refused"));
const socket = new WebSocket("URL/graphql".replace("http", "ws"), "graphql-ws");
socket.onopen = () => tell("OPENED"); socket.onerror = () => tell("closed");
const form = document.createElement("form");
form.method = "POST"; form.action = url; form.target = "inside";
const frame = document.createElement("iframe");
frame.name = "inside"; frame.onload = () => tell("framed");
document.body.append(frame, form, Object.assign(new Image(), {src: url})); form.submit();
document.body.append(Object.assign(document.createElement("iframe"), {src: "URL/", id: "ui"}));
</script></body></html>"""


def status_of(url: str, body: bytes | None = None, **headers: str) -> int:
    request = urllib.request.Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        return int(urllib.request.urlopen(request, timeout=30).status)
    except urllib.error.HTTPError as error:
        return error.code


def partitions(served: Served) -> set[str]:
    with dg.DagsterInstance.from_config(served.home) as instance:
        return set(instance.get_dynamic_partitions("record_batches"))


@pytest.mark.timeout(600)
def test_a_page_of_another_origin_can_do_nothing_even_to_who_is_logged_in(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    prepared(tmp_path, 3)
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/records.db", "DAGSTER_HOME": str(tmp_path / "home"),
        "DOBBY_AUTOMATION_ENABLED": "false",
    }  # fmt: skip
    with dagster_dev(tmp_path, environment, "--host", "0.0.0.0") as served:
        assert served.ask(ADD % "good")["addDynamicPartition"]["__typename"] == "AddDynamicPartitionSuccess"
        _raw_requests_of_the_attack(served)
        _subscriptions(served)
        browser.get(f"{served.url}/runs")
        assert "login link" in browser.find_element(By.TAG_NAME, "body").text
        browser.get(f"{served.url}/login?token={served.token}")
        until(lambda: "Automation" in browser.find_element(By.TAG_NAME, "body").text, "the UI after the login")
        assert browser.current_url.startswith(served.url)
        assert served.token not in browser.current_url
        _page_of_another_origin(browser, served)
        assert partitions(served) == {"good"}
        log = (tmp_path / "dev.log").read_bytes()
    assert b"\x1b" not in log
    assert served.token.encode() not in log
    assert b"http://0.0.0.0:" in log


def _raw_requests_of_the_attack(served: Served) -> None:
    evil = ADD % "evil"
    login = f"Bearer {served.token}"
    url = f"{served.url}/graphql?{urllib.parse.urlencode({'query': evil})}"
    simple = {"content_type": "text/plain", "origin": "http://evil.test", "authorization": login}
    assert status_of(url, b"x", **simple) == 403
    assert status_of(url, b"x", **simple, host="evil.test:3950") == 421
    assert status_of(url, b"x", content_type="text/plain", authorization=login) == 415
    assert status_of(url, authorization=login) == 405
    assert status_of(f"{served.url}/") == 401
    with pytest.raises(urllib.error.HTTPError, match="401"):
        served.ask(evil, authorization="Bearer wrong")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        served.ask(evil, origin="http://evil.test")


def _subscriptions(served: Served) -> None:
    def subscribe(**how: Any) -> Any:
        url = f"{served.url.replace('http', 'ws')}/graphql"
        with connect(url, subprotocols=["graphql-ws"], **how) as socket:  # type: ignore[list-item]
            query = 'subscription { pipelineRunLogs(runId: "none") { __typename } }'
            socket.send(json.dumps({"type": "start", "id": "1", "payload": {"query": query}}))
            return json.loads(socket.recv(timeout=30))["payload"]["data"]["pipelineRunLogs"]["__typename"]

    login = {"additional_headers": {"authorization": f"Bearer {served.token}"}}
    assert subscribe(**login, origin=served.url) == "PipelineRunLogsSubscriptionFailure"
    for refused in ({"origin": served.url}, {**login, "origin": "http://evil.test"}):
        with pytest.raises(InvalidStatus, match="403"):
            subscribe(**refused)


def _page_of_another_origin(browser: webdriver.Chrome, served: Served) -> None:
    page = PAGE.replace("URL", served.url).replace("ADD", ADD % "evil").encode()

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Evil) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        browser.get(f"http://127.0.0.1:{server.server_port}/")
        told = {"posted", "asked", "refused", "closed", "framed"}
        until(lambda: told <= set(browser.title.split()), "the end of the attack")
        assert set(browser.title.split()) == told
        browser.switch_to.frame("ui")
        assert "Automation" not in browser.find_element(By.TAG_NAME, "body").text
        server.shutdown()
