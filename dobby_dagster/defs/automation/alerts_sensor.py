"""The sensor ``alerts``: what needs attention is sent once when it begins, and once when it is over."""

import logging
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

from dobby_dagster.defs.runs.dagster_home import home_path
from dobby_dagster.domain.settings import Settings

if TYPE_CHECKING:
    from dobby_dagster.pipeline.monitoring.alert_state import AlertState
    from dobby_dagster.pipeline.monitoring.conditions import Reading

NAME = "alerts"
INTERVAL_SECONDS = 15


def alerts_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor for ``settings``; on even where ``automation.enabled`` is false.

    A tick delivers what the ticks before it stored, and then reads what needs attention now. So nothing is sent that a
    crash could forget, and a lost database is known within two ticks.
    """
    started = cache(lambda: _start(settings))

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends what needs attention, and that it is over: to the log, and where automation.alert_… says. "
        "The open alerts and the undelivered ones are in its cursor.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from dobby_dagster.pipeline.monitoring.alert_channels import channels, deliver, log
        from dobby_dagster.pipeline.monitoring.alert_state import AlertState

        read = started()
        state, named = AlertState.load(context.cursor), channels(settings.automation)
        deliver(state.outbox, named)
        for notification in state.update(read(context.instance), named.keys(), time.time()):
            log(notification)
        return dg.SensorResult(skip_reason=dg.SkipReason(_summary(state)), cursor=state.dump())

    return alerts


def _start(settings: Settings) -> "Callable[[dg.DagsterInstance], Reading]":
    from dobby_dagster.pipeline.monitoring.alert_channels import channels, unusable

    for problem in unusable(channels(settings.automation)):
        logging.getLogger("dobby.alerts").error("%s", problem)
    return conditions_reader(settings)


def conditions_reader(settings: Settings) -> "Callable[[dg.DagsterInstance], Reading]":
    """A function that reads all checks; it remembers what does not change between two calls."""
    from dobby_dagster.defs.automation.run_conditions import RunConditions
    from dobby_dagster.pipeline.monitoring.conditions import Conditions
    from dobby_dagster.pipeline.monitoring.stored_conditions import stored_checks

    home = home_path(settings)
    conditions, runs = Conditions(), RunConditions(settings, home)
    return lambda instance: conditions.read([*stored_checks(settings, home), *runs.checks(instance)])


def stored_state(instance: dg.DagsterInstance) -> "AlertState":
    """The state after the sensor's last tick; an empty one where it never ran."""
    from dobby_dagster.pipeline.monitoring.alert_state import AlertState

    for instigator in instance.all_instigator_state():
        if instigator.instigator_name == NAME:
            return AlertState.load(getattr(instigator.instigator_data, "cursor", None))
    return AlertState()


def _summary(state: "AlertState") -> str:
    open_alerts = "; ".join(alert.title for alert in state.open_alerts()) or "nothing needs attention"
    outages = [f"{name} failed: {outage.error}" for name, outage in state.outbox.outages.items()]
    return "; ".join([open_alerts, *outages])
