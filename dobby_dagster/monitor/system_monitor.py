"""The monitor: which parts it checks, and what it exports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import TimeoutError as LateError

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.registry import Collector

from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.monitor.dagster_services import DagsterServices
from dobby_dagster.monitor.ledger import Ledger, LoadSettings
from dobby_dagster.monitor.ledger_figures import LedgerReader
from dobby_dagster.monitor.liveness import require_running
from dobby_dagster.monitor.part_check import Part, PartCheck, examine
from dobby_dagster.monitor.prometheus_metrics import alert_metric, build_info, ledger_metrics, part_metrics
from dobby_dagster.monitor.single_flight import SingleFlight

_log = logging.getLogger("dobby.monitor")


class Monitor(Collector):
    """Health, readiness and metrics.

    Args:
        load: Reads the settings again.
        processes: The owners of the processes that have to live, by name, as of now.
        dagster: Dagster's services; None where they are not checked.
    """

    def __init__(
        self, load: LoadSettings, processes: Callable[[], Mapping[str, str]], dagster: DagsterServices | None
    ) -> None:
        self._limit = load(None).monitor.limit_seconds
        self._processes, self._dagster = processes, dagster
        ledger = Ledger(load)
        checks: dict[str, Callable[[], str]] = {
            "settings": ledger.check_settings,
            "database": ledger.check_database,
            "stalls": ledger.check_stalls,
        }
        if dagster is not None:
            checks |= {
                "web server": dagster.web_server,
                "code location": dagster.code_location,
                "daemon": dagster.daemon,
            }
        self._checks = {name: PartCheck(check, self._limit) for name, check in checks.items()}
        self._figures = SingleFlight(LedgerReader(ledger).read)
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def health(self) -> dict[str, Part]:
        """Whether each process lives; this one does, since it answers."""
        alive = {"monitor": Part(True, "answers", 0.0)}
        return alive | {
            name: PartCheck(lambda owner=owner: require_running(owner), self._limit).result()  # type: ignore[misc]
            for name, owner in self._processes().items()
        }

    def ready(self) -> dict[str, Part]:
        """Whether each part of the system works."""
        return examine(self._checks)

    def describe(self) -> list[Metric]:
        """See :class:`prometheus_client.registry.Collector`; nothing is read when the registry is made."""
        return []

    def collect(self) -> Iterator[Metric]:
        """What is known now; where the database does not answer, that it does not."""
        yield build_info()
        try:
            yield from ledger_metrics(self._figures.result(self._limit))
        except (DobbyError, LateError) as error:
            _log.warning("the ledger's metrics are left out: %s", error or f"no answer within {self._limit:g} s")
        # Checks begin last: side by side with the reading they would slow it down.
        yield from part_metrics({name: check.recent() for name, check in self._checks.items()})
        if self._dagster is not None and (alerts := self._dagster.open_alerts()) is not None:
            yield alert_metric(alerts)
