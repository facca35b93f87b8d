"""Alerts: always written to the log, and sent to a webhook or a command where the settings name one."""

from __future__ import annotations

import json
import logging
import subprocess
import time
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from dobby_dagster.domain.errors import DobbyError, Severity
from dobby_dagster.domain.http_client import HttpClient
from dobby_dagster.domain.http_reply import BadAnswerError, NoAnswerError, Reply
from dobby_dagster.domain.secrets import redact
from dobby_dagster.domain.settings import AutomationSettings

TIMEOUT_SECONDS = 10.0
LEVELS = {Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR, Severity.CRITICAL: logging.CRITICAL}
_log = logging.getLogger("dobby.alerts")


class AlertError(DobbyError):
    """An alert could not be delivered."""

    code = "alert"


@dataclass(frozen=True)
class Alert:
    """Something that needs a person's attention.

    >>> Alert("freshness", "The source is not polled", "Is the daemon running?").severity.value
    'error'

    Attributes:
        kind: ``run_failure`` or ``freshness``.
        title: One line.
        text: What happened, and what to do.
        severity: Decides the level in the log.
        run: Identifier of the run; empty for other alerts.
        batches: The run's batches.
        at: Seconds since the epoch.
    """

    kind: str
    title: str
    text: str
    severity: Severity = Severity.ERROR
    run: str = ""
    batches: tuple[str, ...] = ()
    at: float = field(default_factory=time.time)


def deliver(alert: Alert, settings: AutomationSettings) -> None:
    """Log ``alert``, and send it as one JSON object to the webhook and the command of ``settings``.

    Raises:
        AlertError: The webhook or the command failed; the message holds no secret part of the URL.
    """
    _log.log(LEVELS[alert.severity], "%s: %s", alert.title, alert.text)
    body = redact(json.dumps(asdict(alert)))
    if settings.alert_webhook is not None:
        _post(settings.alert_webhook.get_secret_value(), body)
    if settings.alert_command:
        _run([argument.get_secret_value() for argument in settings.alert_command], body)


def _post(url: str, body: str) -> None:
    hint = "see automation.alert_webhook"
    where = f"the alert webhook at {urlsplit(url).hostname}"
    client = HttpClient(url, {}, TIMEOUT_SECONDS, 1)
    try:
        reply = _send(client, body)
    except (NoAnswerError, BadAnswerError) as error:
        raise AlertError(f"{where} can't be reached: {error}", hint=hint) from None
    finally:
        client.close()
    if reply.status >= 300:
        raise AlertError(f"{where} answered {reply.status}", hint=hint)


@retry(
    retry=retry_if_exception_type(NoAnswerError),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(multiplier=0.2, max=2),
    reraise=True,
)
def _send(client: HttpClient, body: str) -> Reply:
    return client.request("POST", "", body.encode())


def _run(command: list[str], body: str) -> None:
    hint = "see automation.alert_command"
    try:
        # The operator's own command, without a shell; the alert goes in on standard input only.
        finished = subprocess.run(  # noqa: S603
            command, input=body, text=True, errors="replace", capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:  # its message holds the arguments
        raise AlertError(f"the alert command {command[0]} took longer than {TIMEOUT_SECONDS:g} s", hint=hint) from None
    except (OSError, ValueError) as error:
        raise AlertError(f"the alert command {command[0]} can't be run: {error}", hint=hint) from None
    if finished.returncode:
        output = redact(finished.stderr.strip())[:200]
        raise AlertError(f"the alert command {command[0]} ended with {finished.returncode}: {output}", hint=hint)
