"""The channel to whatever Apprise can reach by a URL: chat, mail, paging."""

from __future__ import annotations

import logging
import re
from typing import Any

from dobby_dagster.domain.errors import AlertError, Severity
from dobby_dagster.domain.printable import message
from dobby_dagster.domain.secrets import redact
from dobby_dagster.pipeline.monitoring.notification import Notification


class AppriseService:
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
        """See :class:`~dobby_dagster.pipeline.monitoring.alert_channels.Channel`."""
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
