"""What Dagster's web server says: whether code locations load, and when the daemon last sent its heartbeats.

It is asked over HTTP, so that the monitor imports no Dagster (some 50 MB), and works beside services on other hosts; by
the standard library's client, since httpx would take 15 MB.
"""

from __future__ import annotations

import json
import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from dobby_dagster.domain.addresses import is_loopback
from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.monitor.part_check import PartError, UnknownPartError
from dobby_dagster.monitor.single_flight import SingleFlight
from dobby_dagster.pipeline.monitoring.alert_state import AlertState
from dobby_dagster.pipeline.monitoring.conditions import Kind

# The name of the sensor; Dagster's code is not imported here.
ALERTS = "alerts"
LARGEST_ANSWER = 8_000_000

_QUERY = """{ workspaceOrError { __typename
    ... on PythonError { message }
    ... on Workspace { locationEntries { name loadStatus
        locationOrLoadError { __typename
          ... on PythonError { message causes { message } }
          ... on RepositoryLocation { repositories { sensors { name sensorState {
            typeSpecificData { ... on SensorData { lastCursor } } } } } } } } } }
  instance { daemonHealth { allDaemonStatuses { daemonType required lastHeartbeatTime } } } }"""


class DagsterServices:
    """Dagster's web server, and through it the code locations and the daemon.

    Args:
        url: Of the web server.
        token: Bearer token of a ``dobby dev`` that requires a login; empty for none.
        limit_seconds: For one request.
        heartbeat_seconds: Age at which a heartbeat of the daemon counts as missing; it sends one every 30 s.
    """

    def __init__(self, url: str, token: str, limit_seconds: float, heartbeat_seconds: float) -> None:
        self._url, self._token = url.rstrip("/"), token
        # The proxy of the environment is for other machines.
        self._opener = build_opener(*([ProxyHandler({})] if is_loopback(url) else []))
        self._limit, self._heartbeat = limit_seconds, heartbeat_seconds
        self._answer = SingleFlight(self._ask)

    def web_server(self) -> str:
        """Check that the web server answers.

        Raises:
            PartError: It does not.
        """
        try:
            self._answer.result(self._limit)
        except TimeoutError:
            raise PartError(f"{self._url}: no answer within {self._limit:g} s") from None
        return f"{self._url} answers"

    def code_location(self) -> str:
        """Check that every code location loads.

        Raises:
            PartError: One does not; the message says why.
            UnknownPartError: The web server does not answer.
        """
        found = self._known()["workspaceOrError"]
        if found["__typename"] != "Workspace":
            raise PartError(str(found.get("message", found["__typename"])))
        entries = found["locationEntries"]
        for entry in entries:
            loaded = entry["locationOrLoadError"] or {"__typename": "nothing"}
            if entry["loadStatus"] != "LOADED":
                raise PartError(f"{entry['name']} is loading")
            if loaded["__typename"] != "RepositoryLocation":
                raise PartError(
                    f"{entry['name']} can't be loaded: {_cause(loaded)}", hint="see the log of the code server"
                )
        if not entries:
            raise PartError("there is no code location", hint="see workspace.yaml")
        return f"{', '.join(entry['name'] for entry in entries)} loaded"

    def daemon(self) -> str:
        """Check the heartbeats of every daemon that the instance needs.

        Raises:
            PartError: One is missing.
            UnknownPartError: The web server does not answer.
        """
        daemons = self._known()["instance"]["daemonHealth"]["allDaemonStatuses"]
        beats = {daemon["daemonType"]: daemon["lastHeartbeatTime"] for daemon in daemons if daemon["required"]}
        never = sorted(name for name, at in beats.items() if at is None)
        if never:
            raise PartError(f"no heartbeat of {', '.join(never)} yet", hint="start dagster-daemon, or wait a minute")
        oldest, at = min(beats.items(), key=lambda beat: beat[1])
        age = time.time() - at
        if age > self._heartbeat:
            raise PartError(f"the last heartbeat of {oldest} was {age:.0f} s ago", hint="restart dagster-daemon")
        return f"heartbeats of {counted(len(beats), 'daemon')}, the oldest {age:.0f} s ago"

    def open_alerts(self) -> dict[str, int] | None:
        """Open alerts by kind, from the cursor of the sensor that sends them; None where that is unknown."""
        try:
            entries = self._answer.recent(self._limit)["workspaceOrError"].get("locationEntries", [])
        except (DobbyError, TimeoutError):
            return None
        locations = [entry["locationOrLoadError"] or {} for entry in entries]
        repositories = [each for location in locations for each in location.get("repositories", [])]
        states = [each["sensorState"] for one in repositories for each in one["sensors"] if each["name"] == ALERTS]
        if not states:
            return None
        counts = dict.fromkeys((kind.value for kind in Kind), 0)
        for state in states:
            for alert in AlertState.load((state["typeSpecificData"] or {}).get("lastCursor")).open_alerts():
                counts[alert.kind.value] += 1
        return counts

    def _known(self) -> Any:
        try:
            return self._answer.result(self._limit)
        except (DobbyError, TimeoutError):
            raise UnknownPartError("not known: the web server does not answer") from None

    def _ask(self) -> Any:
        headers = {"content-type": "application/json"}
        headers |= {"authorization": f"Bearer {self._token}"} if self._token else {}
        request = Request(f"{self._url}/graphql", json.dumps({"query": _QUERY}).encode(), headers)  # noqa: S310
        try:
            with self._opener.open(request, timeout=self._limit) as reply:
                answer = json.loads(reply.read(LARGEST_ANSWER))
        except HTTPError as error:
            raise PartError(f"{self._url} answers with status {error.code}", hint="see monitor.dagster_url") from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise PartError(f"{self._url} does not answer: {reason}", hint="is it started?") from None
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
            raise PartError(f"{self._url} is not Dagster's web server", hint="see monitor.dagster_url")
        return answer["data"]


def _cause(error: dict[str, Any]) -> str:
    """The innermost message, on one line."""
    messages = [error, *(error.get("causes") or [])]
    return " ".join(str(messages[-1].get("message", "no reason is given")).split())
