"""The channels that get an alert as JSON: a webhook and a command."""

from __future__ import annotations

import subprocess
from urllib.parse import urlsplit

from dobby_dagster.domain.errors import AlertError
from dobby_dagster.domain.http_client import HttpClient
from dobby_dagster.domain.http_reply import BadAnswerError, NoAnswerError
from dobby_dagster.domain.secrets import redact
from dobby_dagster.pipeline.monitoring.notification import Notification

TIMEOUT_SECONDS = 10.0


class Webhook:
    """POSTs each notification as JSON.

    Args:
        url: Secret as a whole.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, notification: Notification) -> None:
        """See :class:`~dobby_dagster.pipeline.monitoring.alert_channels.Channel`; any status below 300 is a success."""
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
        """See :class:`~dobby_dagster.pipeline.monitoring.alert_channels.Channel`; the exit status 0 is a success."""
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


def _body(notification: Notification) -> str:
    return redact(notification.model_dump_json())
