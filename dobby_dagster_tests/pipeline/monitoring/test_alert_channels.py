"""Alerts reach a webhook, a command and the services of Apprise; no secret is in them, or in an error."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import AlertError, Severity
from dobby_dagster.domain.secrets import learn
from dobby_dagster.domain.settings import AutomationSettings
from dobby_dagster.pipeline.monitoring.alert_channels import channels, deliver, log, unusable
from dobby_dagster.pipeline.monitoring.alert_state import AlertState
from dobby_dagster.pipeline.monitoring.conditions import Condition, Kind, Reading
from dobby_dagster.pipeline.monitoring.notification import Notification
from dobby_dagster_tests.helpers.webhook import PATH, Hook, running_hook

ALERT = Notification(
    id="disk:/", status="open", kind="disk", subject="/", severity=Severity.ERROR, title="full; $(touch x)",
    text="What happened", remedy="df -h /", batches=("batch-000001",), runs=("run-1",), at=2.0, since=1.0,
)  # fmt: skip


@pytest.fixture
def hook() -> Iterator[Hook]:
    with running_hook() as started:
        yield started


def writes_to(out: Path) -> tuple[str, ...]:
    return (
        sys.executable,
        "-c",
        f"import sys, pathlib; pathlib.Path({str(out)!r}).open('a').write(sys.stdin.read() + chr(10))",
    )


def test_every_channel_gets_the_same_alert(hook: Hook, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "alerts.jsonl"
    url = f"json://127.0.0.1:{hook.port}/token-of-a-service-01/"
    settings = AutomationSettings(alert_webhook=hook.url, alert_command=writes_to(out), alert_urls=(url, url))
    named = channels(settings)
    assert list(named) == ["webhook", "command", "json", "json 2"]
    assert list(unusable(named)) == []
    for channel in named.values():
        channel.send(ALERT)
    log(ALERT)
    [posted, first, second] = hook.got
    assert posted == json.loads(out.read_text()) == json.loads(ALERT.model_dump_json())
    assert hook.paths[:2] == [PATH, "/token-of-a-service-01/"]
    assert first == second
    assert first["title"] == "Dobby, error: full; $(touch x)"
    for part in ("What happened", "batch-000001", "run-1", "To look into it: df -h /"):
        assert part in first["message"]
    assert not Path("x").exists()
    assert "full; $(touch x)" in caplog.text
    assert "secret-part" not in caplog.text


def test_what_can_not_be_delivered_is_an_error_without_the_secret(hook: Hook, tmp_path: Path) -> None:
    def error_of(**settings: object) -> str:
        [channel] = channels(AutomationSettings.model_validate(settings)).values()
        with pytest.raises(AlertError) as caught:
            channel.send(ALERT)
        return str(caught.value)

    hook.answers = [500, 500]
    assert "the alert webhook at 127.0.0.1 answered 500" in error_of(alert_webhook=hook.url)
    refused = error_of(alert_urls=(f"json://user:secret-word@127.0.0.1:{hook.port}/secret-part-of-it/",))
    assert "json did not accept it" in refused
    assert "500" in refused
    assert "can't be reached" in error_of(alert_webhook=f"http://127.0.0.1:9{PATH}")
    failing = (sys.executable, "-c", "import sys; sys.stderr.write('no'); sys.exit(3)")
    assert "ended with 3: no" in error_of(alert_command=failing)
    assert "can't be run" in error_of(alert_command=("/no/such/program",))
    gone = error_of(alert_urls=("json://user:secret-word@127.0.0.1:9/secret-part-of-it/",))
    for text in (refused, gone):
        assert "secret" not in text


def test_an_address_that_apprise_can_not_use_is_named_without_its_secret() -> None:
    named = channels(AutomationSettings(alert_urls=("nosuch://secret-token-1", "tgram://secret-token-2")))
    problems = list(unusable(named))
    assert [problem.partition(":")[0] for problem in problems] == ["nosuch", "tgram"]
    assert "an address nosuch://… is not one that Apprise can use (see automation.alert_urls)" in problems[0]
    assert "secret" not in str(problems)


def test_a_secret_in_an_alert_is_masked(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    learn("sk-secret-of-a-server")
    state = AlertState()
    condition = Condition(Kind.STALL, "run", "sk-secret-of-a-server", "the server said: sk-secret-of-a-server")
    for notification in state.update(Reading([condition]), ["webhook"], time.time()):
        log(notification)
    deliver(state.outbox, channels(AutomationSettings(alert_webhook=hook.url)))
    assert [sent["text"] for sent in hook.got] == ["the server said: ***"]
    assert "sk-secret" not in state.dump() + caplog.text + str(hook.got)


def test_a_channel_that_is_down_gets_everything_later_and_the_others_nothing_twice(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, state, now = tmp_path / "alerts.jsonl", AlertState(), time.time()
    monkeypatch.setattr("time.time", lambda: now)
    named = channels(AutomationSettings(alert_webhook=hook.url, alert_command=writes_to(out)))
    full = Condition(Kind.DISK, "/", "full")
    state.update(Reading([full]), named, now)
    hook.answers = [503, 503]
    for _ in range(3):
        deliver(state.outbox, named)
    assert (len(hook.got), len(hook.paths)) == (0, 1), "not tried again before its time"
    assert state.outbox.outages["webhook"].error.startswith("the alert webhook at 127.0.0.1 answered 503")
    for passed in (20, 60, 60, 60):
        now += passed
        state.update(Reading([]), named, now)
        deliver(state.outbox, named)
    assert hook.statuses("disk") == ["open", "resolved"]
    assert hook.got[0]["at"] < now - 190, "the age is kept"
    assert [json.loads(line)["status"] for line in out.read_text().splitlines()] == ["open", "resolved"]
    assert (state.outbox.undelivered, state.outbox.outages) == ([], {})
