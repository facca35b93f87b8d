"""The channels of alerts: a webhook, a command, and whatever Apprise can reach by a URL. The log has them all."""

from __future__ import annotations

import logging
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from dobby_dagster.domain.errors import AlertError, Severity
from dobby_dagster.domain.http_client import HttpClient
from dobby_dagster.domain.http_reply import BadAnswerError, NoAnswerError
from dobby_dagster.domain.printable import message
from dobby_dagster.domain.secrets import redact
from dobby_dagster.domain.settings import AutomationSettings
from dobby_dagster.pipeline.monitoring.alert_state import AlertState, Notification

TIMEOUT_SECONDS = 10.0
# No delivery begins after this time: Dagster gives a sensor a minute.
DELIVERY_SECONDS = 15.0
LEVELS = {Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR, Severity.CRITICAL: logging.CRITICAL}
_log = logging.getLogger("dobby.alerts")


class Channel(Protocol):
    """A place to which alerts are sent."""

    def send(self, notification: Notification) -> None:
        """Deliver ``notification``, within ``TIMEOUT_SECONDS`` or little more.

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
        found[scheme if seen[scheme] == 1 else f"{scheme} {seen[scheme]}"] = Service(url.get_secret_value())
    return found


def deliver(state: AlertState, named: Mapping[str, Channel]) -> None:
    """Deliver what waits in ``state``; what fails, or is over ``DELIVERY_SECONDS``, waits for the next call."""
    deadline = time.monotonic() + DELIVERY_SECONDS
    for name, channel in named.items():
        while time.monotonic() < deadline and (notification := state.next_for(name, time.time())) is not None:
            try:
                channel.send(notification)
            except Exception as error:  # a channel that fails does not affect the others
                reason = message(error if isinstance(error, AlertError) else type(error).__name__)
                state.failed(name, time.time(), reason)
                _log.warning("an alert is not delivered yet, it is sent again later: %s", reason)
            else:
                state.delivered(name, notification)


def unusable(named: Mapping[str, Channel]) -> Iterator[str]:
    """What is wrong with the addresses of services, one line each; a webhook's and a command's are in the settings."""
    for name, channel in named.items():
        if isinstance(channel, Service):
            try:
                channel.check()
            except AlertError as error:
                yield f"{name}: {error}"


class Webhook:
    """POSTs each notification as JSON.

    Args:
        url: Secret as a whole.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, notification: Notification) -> None:
        """See :class:`Channel`; any status below 300 is a success."""
        hint = "see automation.alert_webhook"
        where = f"the alert webhook at {urlsplit(self._url).hostname}"
        client = HttpClient(self._url, {}, TIMEOUT_SECONDS, 1)
        try:
            reply = client.request("POST", "", _body(notification).encode())
        except (NoAnswerError, BadAnswerError) as error:
            raise AlertError(f"{where} can't be reached: {error}", hint=hint) from None
        finally:
            client.close()
        if reply.status >= 300:
            raise AlertError(f"{where} answered {reply.status}", hint=hint)


class Command:
    """Runs a command without a shell for each notification, which it gets as JSON on standard input.

    Args:
        arguments: The program and its arguments, which are secret.
    """

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments

    def send(self, notification: Notification) -> None:
        """See :class:`Channel`; the exit status 0 is a success."""
        hint = "see automation.alert_command"
        where = f"the alert command {self._arguments[0]}"
        try:
            finished = subprocess.run(  # noqa: S603 — the operator's own command
                self._arguments, input=_body(notification), text=True, errors="replace", capture_output=True,
                timeout=TIMEOUT_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:  # its message holds the arguments
            raise AlertError(f"{where} took longer than {TIMEOUT_SECONDS:g} s", hint=hint) from None
        except (OSError, ValueError) as error:
            raise AlertError(f"{where} can't be run: {error}", hint=hint) from None
        if finished.returncode:
            output = redact(finished.stderr.strip())[:200]
            raise AlertError(f"{where} ended with {finished.returncode}: {output}", hint=hint)


class Service:
    """A chat, mail or paging service, by Apprise; see https://appriseit.com/services for the URLs.

    Args:
        url: Secret as a whole.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._scheme = url.partition("://")[0]

    def check(self) -> None:
        """Parse the URL; nothing is sent.

        Raises:
            AlertError: Apprise is not installed, or can't use the URL.
        """
        self._service()

    def send(self, notification: Notification) -> None:
        """See :class:`Channel`."""
        import apprise

        service = self._service()
        kinds = {Severity.WARNING: apprise.NotifyType.WARNING}
        kind = kinds.get(notification.severity, apprise.NotifyType.FAILURE)
        kind = apprise.NotifyType.SUCCESS if notification.status == "resolved" else kind
        title, body = for_people(notification)
        with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as captured:
            if service.notify(body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT):
                return
            reason = captured.getvalue().strip().splitlines()[-1:]
        raise AlertError(f"{self._scheme} did not accept it: {message(' '.join(reason) or 'no reason given')}")

    def _service(self) -> Any:
        hint = "see automation.alert_urls"
        try:
            import apprise
        except ImportError:
            raise AlertError("apprise is not installed", hint="pip install 'dobby-dagster[alerts]'") from None
        # What it logs is taken from it where it is sent; nothing else of it may stand in a log.
        logging.getLogger("apprise").propagate = False
        service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Dobby", app_desc="Dobby alerts"))
        if not service.add(self._url):
            raise AlertError(f"an address {self._scheme}://… is not one that Apprise can use", hint=hint)
        return service


def for_people(notification: Notification) -> tuple[str, str]:
    r"""The title and the text of ``notification`` for a chat or a mail: no text of a record in it can mention anybody.

    >>> for_people(Notification(id="", status="open", kind="disk", subject="/", severity="error",
    ...     title="a disk is nearly full", text="Ask @everyone.", remedy="df -h /", at=0, since=0))
    ('Dobby, error: a disk is nearly full', 'Ask (at)everyone.\n\nTo look into it: df -h /')
    """
    status = notification.severity if notification.status == "open" else notification.status
    lines = [notification.text]
    lines += [f"Batches: {', '.join(notification.batches)}"] if notification.batches else []
    lines += [f"Runs: {', '.join(notification.runs)}"] if notification.runs else []
    remedy = f"\n\nTo look into it: {redact(notification.remedy)}" if notification.remedy else ""
    body = _harmless("\n\n".join(filter(None, lines))) + remedy
    return _harmless(f"Dobby, {status}: {notification.title}"), body.strip()


def _harmless(text: str) -> str:
    return re.sub("[<>]", "", redact(text).replace("@", "(at)"))


def _body(notification: Notification) -> str:
    return redact(notification.model_dump_json())
