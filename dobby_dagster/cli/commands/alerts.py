"""``dobby alerts``: what needs attention now, and whether alerts reach anybody."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.exit_codes import FAILED
from dobby_dagster.cli.output import note, out, print_json, print_table
from dobby_dagster.domain.errors import DobbyError, Severity
from dobby_dagster.domain.plurals import counted

if TYPE_CHECKING:
    from dobby_dagster.domain.settings import AutomationSettings, Settings
    from dobby_dagster.pipeline.monitoring.alert_channels import Channel
    from dobby_dagster.pipeline.monitoring.alert_state import AlertState
    from dobby_dagster.pipeline.monitoring.conditions import Reading
    from dobby_dagster.pipeline.monitoring.notification import Notification

ONLY_LOG = "Alerts go to the log only: set automation.alert_webhook, alert_command or alert_urls."


@options.takes("database", "relation")
def alerts(
    given: options.Given,
    test: Annotated[bool, typer.Option("--test", help="Send a test alert to each channel.")] = False,
    as_json: options.Json = False,
) -> None:
    """List what needs attention now, with a command that helps, and alerts that could not be delivered.

    Examples:
    - `dobby alerts --test` sends a test alert to the webhook, the command and every URL, and says which worked
    """
    if test:
        _test(given.load().settings.automation, as_json)
        return
    settings = opened(given).settings
    reading, state = _read(settings)
    if as_json:
        print_json(_document(reading, state))
        return
    since = {f"{alert.kind}:{alert.subject}": alert.since for alert in state.open_alerts()}
    for condition in reading.conditions:
        began = since.get(condition.identity)
        age = f", for {counted(max(1, round((time.time() - began) / 60)), 'minute')}" if began else ""
        out.print(f"{condition.severity}: {condition.title} ({condition.kind}{age})", soft_wrap=True)
        for line in (condition.text, f"→ {condition.remedy}" if condition.remedy else ""):
            if line:
                out.print(f"  {line}", soft_wrap=True)
    if not reading.conditions:
        out.print("Nothing needs attention.")
    if reading.unknown:
        note(f"Not known now: {', '.join(sorted(reading.unknown))}.")
    for name, outage in state.outbox.outages.items():
        waiting = sum(name in entry.channels for entry in state.outbox.undelivered)
        note(f"{name} failed {counted(outage.failures, 'time')}, {counted(waiting, 'alert')} waiting: {outage.error}")


def _read(settings: Settings) -> tuple[Reading, AlertState]:
    """What holds now; and what the daemon knows, where it ever ran."""
    from dobby_dagster.defs.automation.alerts_sensor import conditions_reader, stored_state
    from dobby_dagster.defs.runs.dagster_home import home_path, opened_instance
    from dobby_dagster.pipeline.monitoring.alert_state import AlertState
    from dobby_dagster.pipeline.monitoring.conditions import Conditions
    from dobby_dagster.pipeline.monitoring.stored_conditions import stored_checks

    home = home_path(settings)
    if not (home / "dagster.yaml").exists():
        return Conditions().read(stored_checks(settings, home)), AlertState()
    with opened_instance(settings) as instance:
        return conditions_reader(settings)(instance), stored_state(instance)


def _document(reading: Reading, state: AlertState) -> dict[str, object]:
    since = {f"{alert.kind}:{alert.subject}": alert.since for alert in state.open_alerts()}
    return {
        "alerts": [{"id": c.identity, **asdict(c), "since": since.get(c.identity)} for c in reading.conditions],
        "unknown": sorted(reading.unknown),
        "undelivered": [entry.model_dump() for entry in state.outbox.undelivered],
        "outages": {name: outage.model_dump() for name, outage in state.outbox.outages.items()},
        "dropped": state.outbox.dropped,
    }


def _test(automation: AutomationSettings, as_json: bool) -> None:
    from dobby_dagster.pipeline.monitoring.alert_channels import channels, log
    from dobby_dagster.pipeline.monitoring.notification import Notification

    now = time.time()
    notification = Notification(
        id="test:dobby", status="test", kind="test", subject="dobby", severity=Severity.WARNING,
        title="a test of the alerts", text="No action is needed.", at=now, since=now,
    )  # fmt: skip
    log(notification)
    results = {name: _sent(channel, notification) for name, channel in channels(automation).items()}
    if as_json:
        print_json({name: {"ok": not problem, "error": problem} for name, problem in results.items()})
    elif results:
        print_table(["channel", "result"], [(name, problem or "delivered") for name, problem in results.items()])
    else:
        out.print(ONLY_LOG)
    if any(results.values()):
        raise typer.Exit(FAILED)


def _sent(channel: Channel, notification: Notification) -> str:
    """Why the delivery failed; empty where it did not."""
    try:
        channel.send(notification)
    except DobbyError as error:
        return str(error)
    return ""
