"""``dobby alerts``: what needs attention, and a test of each channel."""

import json
from pathlib import Path

import pytest

from dobby_dagster.domain.scope import RunId
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.domain.stall import StallKind
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.webhook import running_hook

URL = "sqlite:///code.db"


def test_what_needs_attention_is_listed_with_a_command_that_helps(dobby: Dobby) -> None:
    store = CozoStore.open(DatabaseSettings(url=URL))
    answer = dobby("alerts", "-d", URL)
    assert (answer.code, answer.out) == (0, "Nothing needs attention.\n")
    store.stalls.record(RunId("a-run-that-hangs"), StallKind.INFERENCE, 300.0)
    answer = dobby("alerts", "-d", URL)
    assert answer.code == 0
    assert "error: run a-run-th was ended: no token for 300 s (stall)" in answer.out
    assert f"doctor --database sqlite:///{Path.cwd()}/code.db" in answer.out
    [alert] = dobby("alerts", "-d", URL, "--json").json["alerts"]
    assert (alert["id"], alert["severity"], alert["since"]) == ("stall:a-run-that-hangs", "error", None)


def test_a_test_alert_goes_to_each_channel_and_says_which_worked(dobby: Dobby) -> None:
    assert "Alerts go to the log only" in dobby("alerts", "--test").out
    with running_hook() as hook:
        Path("dobby.toml").write_text(
            f'[automation]\nalert_webhook = "{hook.url}"\nalert_urls = ["json://127.0.0.1:{hook.port}/"]\n'
        )
        answer = dobby("alerts", "--test", "--json")
        assert (answer.code, {name: sent["ok"] for name, sent in answer.json.items()}) == (
            0,
            {"webhook": True, "json": True},
        )
        assert hook.statuses("test") == ["test"]
        hook.answers = [403]
        answer = dobby("alerts", "--test")
        assert answer.code == 1
        assert "answered 403" in answer.out
        assert "secret-part" not in json.dumps(answer)


@pytest.mark.slow
def test_an_address_that_no_service_has_stops_dev_with_one_line_and_is_named_by_doctor(dobby: Dobby) -> None:
    CozoStore.open(DatabaseSettings(url=URL)).close()
    Path("dobby.toml").write_text('[automation]\nalert_urls = ["nosuch://secret-part-0123"]\n')
    answer = dobby("dev", "-d", URL, "--port", "0")
    assert (answer.code, answer.out) == (1, "")
    assert "an address nosuch://… is not one that Apprise can use" in answer.err
    assert len(answer.err.splitlines()) == 1
    findings = dobby("doctor", "-d", URL, "--json").json
    assert ["nosuch" in finding["message"] for finding in findings if not finding["ok"]] == [True]
    assert "secret-part" not in answer.err + str(findings)
