"""Who may use the web server: its own pages and who is no browser, by the names that it has, with the token."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from dobby_dagster.cli.server.listening_address import Names, listen
from dobby_dagster.cli.server.login_secret import LOGIN_FILE, login_token
from dobby_dagster.cli.server.request_guard import Guard
from dobby_dagster.domain.errors import SettingsError

JSON = {"content-type": "application/json"}
OWN = {"origin": "http://localhost:3000"}
CROSS = {"sec-fetch-site": "cross-site"}
LINK = {**CROSS, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


async def _everything(request: Request) -> JSONResponse:
    return JSONResponse({"method": request.method})


async def _page(request: Request) -> HTMLResponse:
    return HTMLResponse("<p>", headers={"content-security-policy": "script-src 'none'"})


async def _websocket(websocket: WebSocket) -> None:
    await websocket.accept("graphql-ws")
    await websocket.send_json(await websocket.receive_json())
    await websocket.close()


METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"]
APP = Starlette(
    routes=[
        Route("/graphql", _everything, methods=METHODS),
        WebSocketRoute("/graphql", _websocket),
        Route("/page", _page),
        Route("/{path:path}", _everything, methods=METHODS),
    ]
)


def client(
    *addresses: str, token: str | None = None, host: str = "localhost:3000", named: tuple[str, ...] = ()
) -> TestClient:
    guard = Guard(APP, Names.of(addresses or ("127.0.0.1",), named), token)
    return TestClient(guard, f"http://{host}", follow_redirects=False)


@pytest.mark.parametrize("host", ["localhost:3000", "LOCALHOST", "127.0.0.1:3000", "127.3.2.1", "[::1]:3000", "[::1]"])
def test_the_loopback_is_asked_for_by_its_own_names(host: str) -> None:
    assert client().get("/runs", headers={"host": host}).status_code == 200
    assert client().post("/graphql", json={}, headers={"host": host, "origin": f"http://{host}"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:3000", "localhost.evil.test", "127.0.0.1.evil.test", "localhost@evil.test", "evil.test#localhost",
     "192.168.1.5", "0.0.0.0:3000", "[::]", "2130706433", "0x7f.1", "localhost.", "", " ", "localhost:3000, evil.test",
     "\x1b[31m", "[::1", "localhost:99999999"],
)  # fmt: skip
def test_any_other_host_is_refused(host: str) -> None:
    answer = client().get("/runs", headers={"host": host})
    assert (answer.status_code, "\x1b" in answer.text) == (421, False)


def test_two_hosts_are_none() -> None:
    headers = [("host", "localhost"), ("host", "evil.test")]
    assert client().get("/runs", headers=headers).status_code == 421


@given(st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=1, max_size=30))
def test_no_name_but_the_known_ones_is_let_in(host: str) -> None:
    name = host.lower()
    known = name in ("localhost", "[::1]") or name.startswith(("127.", "localhost:", "[::1]:", "[0", "["))
    assert known or client().get("/runs", headers={"host": host}).status_code == 421


def test_names_that_are_allowed_and_names_of_an_open_server() -> None:
    assert client(named=("Dobby.example",), host="dobby.example").get("/").status_code == 200
    opened = {"token": "t" * 32, "host": "192.168.1.5:3000"}
    assert client("0.0.0.0", **opened).get("/").status_code == 401  # the login; any address is a name
    assert client("0.0.0.0", token="t" * 32, host=socket.gethostname()).get("/").status_code == 401
    assert client("0.0.0.0", token="t" * 32, host="evil.test").get("/").status_code == 421


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.test"}, {"origin": "null"}, {"origin": "http://localhost:8080"}, {"origin": "http://localhost"},
     {"origin": "http://127.0.0.1:3000"}, {"origin": ""}, CROSS, {"sec-fetch-site": "same-site"}, {**CROSS, **OWN}, LINK,
     {"origin": "http://localhost:3000.evil.test"}],
)  # fmt: skip
def test_a_mutation_of_another_origin_is_refused(headers: dict[str, str]) -> None:
    assert client().post("/graphql", json={}, headers=headers).status_code == 403
    assert client().post("/report_asset_materialization/x", json={}, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "text/plain; application/json", "application/x-www-form-urlencoded", "multipart/form-data",
     "application/graphql", "application/json-patch", "", "text/plain,application/json"],
)  # fmt: skip
def test_a_mutation_that_any_page_could_send_is_refused(kind: str) -> None:
    for path in ("/graphql?query=mutation{x}", "/report_asset_check/x", "/anything"):
        assert client().post(path, content=b"x", headers={**OWN, "content-type": kind}).status_code == 415


def test_no_other_method_and_no_graphql_by_get() -> None:
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"):
        assert client().request(method, "/graphql", headers={**OWN, **JSON}).status_code == 405
    for path in ("/graphql?query=mutation{x}", "/graphql/?query={x}", "/%67raphql?query={x}"):
        assert client().get(path).status_code == 405
        assert client().head(path, headers={"accept": "text/html"}).status_code == 405
    assert client().get("/graphql", headers={"accept": "text/html"}).status_code == 200, "the page to write queries in"


def test_who_is_no_browser_and_its_own_pages_get_through() -> None:
    assert client().post("/graphql", json={}).json() == {"method": "POST"}
    same = {**OWN, "sec-fetch-site": "same-origin", "content-type": "application/json; charset=utf-8"}
    assert client().post("/graphql", content=b"{}", headers=same).status_code == 200
    assert client().get("/runs", headers={"sec-fetch-site": "none"}).status_code == 200


def test_a_link_from_elsewhere_is_followed_and_nothing_else() -> None:
    assert client().get("/runs", headers=LINK).status_code == 200
    for inside in ("iframe", "image", "script", "empty"):
        assert client().get("/logs/x", headers={**LINK, "sec-fetch-dest": inside}).status_code == 403
    assert client().get("/logs/x", headers={**LINK, "sec-fetch-mode": "no-cors"}).status_code == 403


def test_no_answer_can_be_framed_or_load_from_elsewhere() -> None:
    for answer in (client().get("/page"), client().get("/", headers={"host": "evil.test"}), client().post("/graphql")):
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
    policies = client().get("/page").headers.get_list("content-security-policy")
    assert policies[0] == "script-src 'none'", "the page's own stays"
    assert "frame-ancestors 'none'" in policies[1]
    assert "img-src 'self' data: blob:;" in policies[1]


@pytest.mark.parametrize("headers", [{"origin": "http://evil.test"}, {"origin": "null"}, CROSS, {"host": "evil.test"}])
def test_a_websocket_of_another_origin_is_refused(headers: dict[str, str]) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client().websocket_connect("ws://localhost:3000/graphql", headers=headers) as opened,
    ):
        opened.receive_json()


def test_a_websocket_of_its_own_origin_works() -> None:
    with client().websocket_connect("ws://localhost:3000/graphql", ["graphql-ws"], headers=OWN) as opened:
        opened.send_json({"type": "connection_init"})
        assert opened.receive_json() == {"type": "connection_init"}


TOKEN = "a-token-of-thirty-two-characters-or-more"


def test_an_open_server_lets_in_by_link_cookie_or_bearer_only() -> None:
    browser = client("0.0.0.0", token=TOKEN, host="192.168.1.5:3000")
    for path in ("/", "/graphql", "/page", "/login/", "/login?x=1", "/login?token=", "/login?token=%C3%BC", "/LOGIN"):
        assert browser.get(path, headers={"accept": "text/html"}).status_code == 401, path
    assert browser.post("/graphql", json={}).status_code == 401
    assert browser.post(f"/login?token={TOKEN}", json={}).status_code == 401
    for bearer in ("Bearer", "Bearer x", f"Basic {TOKEN}", TOKEN):
        assert browser.get("/", headers={"authorization": bearer}).status_code == 401
    assert browser.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("ws://192.168.1.5:3000/graphql"):
        pass
    entered = browser.get(f"/login?token={TOKEN}", headers=LINK)
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert browser.post("/graphql", json={}).status_code == 200
    with browser.websocket_connect("ws://192.168.1.5:3000/graphql") as opened:
        opened.send_json(1)
        assert opened.receive_json() == 1
    evil = {"origin": "http://evil.test"}
    assert browser.post("/graphql", json={}, headers=evil).status_code == 403, "a cookie is not enough"


def test_the_token_is_made_once_and_private(tmp_path: Path) -> None:
    token = login_token(tmp_path)
    path = tmp_path / LOGIN_FILE
    assert (len(token) >= 32, path.stat().st_mode & 0o777, login_token(tmp_path)) == (True, 0o600, token)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="that only you can read"):
        login_token(tmp_path)
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(SettingsError, match="that only you can read"):
        login_token(tmp_path)
    path.unlink()
    assert login_token(tmp_path) != token


@pytest.fixture
def taken() -> Iterator[int]:
    [opened] = listen("127.0.0.1", 0)
    with opened:
        yield int(opened.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "port"),
    [("", 0), (" ", 0), ("\t", 0), ("127.0.0.1", 70_000), ("127.0.0.1", -1), ("nosuch.invalid", 0), ("a b", 0), ("x" * 300, 0),
     ("\x1b[31m", 0), ("256.1.1.1", 0), ("::g", 0), ("192.0.2.1", 0), ("\udcff", 0), ("a\0b", 0), ("http://localhost", 0)],
)  # fmt: skip
def test_what_is_no_address_of_this_machine_is_one_error(host: str, port: int) -> None:
    with pytest.raises(SettingsError) as raised:
        listen(host, port)
    assert "\x1b" not in str(raised.value)


def test_a_port_that_another_program_has_is_an_error(taken: int) -> None:
    with pytest.raises(SettingsError, match=f"127.0.0.1:{taken} can't be listened on"):
        listen("127.0.0.1", taken)
    with pytest.raises(SettingsError):
        listen("localhost", taken)


def test_a_name_is_listened_to_at_all_its_addresses_and_one_port() -> None:
    opened = listen("localhost", 0)
    assert len({one.getsockname()[1] for one in opened}) == 1
    assert Names.of((one.getsockname()[0] for one in opened), ("localhost",)).loopback
    for one in opened:
        one.close()
    [everywhere] = listen("0.0.0.0", 0)
    with everywhere:
        assert not Names.of((everywhere.getsockname()[0],), ()).loopback
