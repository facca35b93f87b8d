"""Telling somebody: into the log always, to a webhook or a command where the settings name one."""

from __future__ import annotations

import json
import logging
import subprocess
import time
from dataclasses import asdict, dataclass, field

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.settings import AutomationSettings

TIMEOUT_SECONDS = 10.0
_log = logging.getLogger("dobby.alerts")


class AlertError(DobbyError):
    """An alert could not be delivered."""

    code = "alert"


@dataclass(frozen=True)
class Alert:
    """One thing that a person should know.

    Attributes:
        kind: ``run_failure`` or ``freshness``.
        title: One line.
        text: What happened, and the way out.
        run: The run's identifier, where there is one.
        batches: What it was about.
        at: Seconds since the epoch.
    """

    kind: str
    title: str
    text: str
    run: str = ""
    batches: tuple[str, ...] = ()
    at: float = field(default_factory=time.time)


def deliver(alert: Alert, settings: AutomationSettings) -> None:
    """Log ``alert``, and hand it to the webhook and the command of ``settings`` as one JSON object.

    Raises:
        AlertError: The webhook or the command failed; the secret parts of the URL are not in the message.
    """
    _log.error("%s: %s", alert.title, alert.text)
    body = json.dumps(asdict(alert))
    if settings.alert_webhook is not None:
        _post(settings.alert_webhook.get_secret_value(), body)
    if settings.alert_command:
        _run(settings.alert_command, body)


def _post(url: str, body: str) -> None:
    host = httpx.URL(url).host
    try:
        _send(url, body).raise_for_status()
    except httpx.HTTPStatusError as error:
        raise AlertError(
            f"the alert webhook at {host} answered {error.response.status_code}", hint="see automation.alert_webhook"
        ) from None
    except httpx.HTTPError as error:
        raise AlertError(
            f"the alert webhook at {host} can't be reached: {type(error).__name__}", hint="see automation.alert_webhook"
        ) from None


@retry(
    retry=retry_if_exception_type(httpx.TransportError),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(multiplier=0.2, max=2),
    reraise=True,
)
def _send(url: str, body: str) -> httpx.Response:
    return httpx.post(url, content=body, headers={"content-type": "application/json"}, timeout=TIMEOUT_SECONDS)


def _run(command: tuple[str, ...], body: str) -> None:
    hint = "see automation.alert_command"
    try:
        # The operator's own command, without a shell; the alert goes in on standard input only.
        done = subprocess.run(  # noqa: S603
            command, input=body, text=True, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AlertError(f"the alert command {command[0]} can't be run: {error}", hint=hint) from error
    if done.returncode:
        said = done.stderr.strip()[:200]
        raise AlertError(f"the alert command {command[0]} ended with {done.returncode}: {said}", hint=hint)
