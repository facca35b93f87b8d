"""Where alerts are delivered: the configured channels, and the log, which has them all."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Protocol

from dobby_dagster.domain.errors import AlertError, Severity
from dobby_dagster.domain.printable import message
from dobby_dagster.domain.settings import AutomationSettings
from dobby_dagster.pipeline.monitoring.alert_outbox import Outbox
from dobby_dagster.pipeline.monitoring.apprise_channel import AppriseService
from dobby_dagster.pipeline.monitoring.direct_channels import Command, Webhook
from dobby_dagster.pipeline.monitoring.notification import Notification

# No delivery begins after this time: Dagster gives a sensor a minute.
DELIVERY_SECONDS = 15.0
LEVELS = {Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR, Severity.CRITICAL: logging.CRITICAL}
_log = logging.getLogger("dobby.alerts")


class Channel(Protocol):
    """A place to which alerts are sent."""

    def send(self, notification: Notification) -> None:
        """Deliver ``notification``, within about ten seconds.

        Raises:
            AlertError: It was not delivered; the message holds no secret.
        """
        ...


def log(notification: Notification) -> None:
    """Write ``notification`` to the log, at the level of its severity; its end as a warning."""
    level = logging.WARNING if notification.status == "resolved" else LEVELS[notification.severity]
    text = " ".join(filter(None, (notification.text, notification.remedy)))
    _log.log(level, "%s: %s: %s: %s", notification.status, notification.kind, notification.title, text)


def channels(settings: AutomationSettings) -> dict[str, Channel]:
    """Every channel that ``settings`` name, by a name without secrets: webhook, command, and the schemes of the URLs.

    >>> list(channels(AutomationSettings(alert_urls=("slack://a/b/c", "mailto://u:p@example.com", "slack://d/e/f"))))
    ['slack', 'mailto', 'slack 2']
    """
    found: dict[str, Channel] = {}
    if settings.alert_webhook is not None:
        found["webhook"] = Webhook(settings.alert_webhook.get_secret_value())
    if settings.alert_command:
        found["command"] = Command([argument.get_secret_value() for argument in settings.alert_command])
    seen: Counter[str] = Counter()
    for url in settings.alert_urls:
        scheme = url.get_secret_value().partition("://")[0]
        seen[scheme] += 1
        found[scheme if seen[scheme] == 1 else f"{scheme} {seen[scheme]}"] = AppriseService(url.get_secret_value())
    return found


def deliver(outbox: Outbox, named: Mapping[str, Channel]) -> None:
    """Deliver what waits in ``outbox``; what fails, or is over ``DELIVERY_SECONDS``, waits for the next call."""
    deadline = time.monotonic() + DELIVERY_SECONDS
    for name, channel in named.items():
        while time.monotonic() < deadline and (notification := outbox.next_for(name, time.time())) is not None:
            try:
                channel.send(notification)
            except Exception as error:  # a channel that fails does not affect the others
                reason = message(error if isinstance(error, AlertError) else type(error).__name__)
                outbox.failed(name, time.time(), reason)
                _log.warning("an alert is not delivered yet, it is sent again later: %s", reason)
            else:
                outbox.delivered(name, notification)


def unusable(named: Mapping[str, Channel]) -> Iterator[str]:
    """What is wrong with the addresses of services, one line each; a webhook's and a command's are in the settings."""
    for name, channel in named.items():
        if isinstance(channel, AppriseService):
            try:
                channel.check()
            except AlertError as error:
                yield f"{name}: {error}"
