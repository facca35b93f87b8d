"""A picture of the Grafana dashboard's data: every panel, drawn from a real Prometheus that scrapes a running system.

``python -m bench dashboard [PICTURE]``; records arrive for two minutes, some of which fail.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.monitor_client import MonitorClient
from dobby_dagster_tests.helpers.prometheus import DEPLOY, Prometheus, filled, scraping
from dobby_dagster_tests.helpers.records import prepared, put
from dobby_dagster_tests.helpers.webserver import dagster_dev

PICTURE = Path("build/dashboard.png")
ARRIVALS, RECORDS, PAUSE_SECONDS = 8, 250, 15.0
COLUMNS = 3
FACTORS = {"bytes": (1e6, "MB"), "percentunit": (0.01, "%"), "s": (1.0, "s"), "short": (1.0, "")}


def draw(picture: Path = PICTURE) -> None:
    """Run the system, and write the picture."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        store = prepared(folder, 1)
        environment = {
            "DATABASE_URL": f"sqlite:///{folder}/records.db", "DAGSTER_HOME": str(folder / "home"),
            "DOBBY_PIPELINE_BATCH_SIZE": "200", "DOBBY_PIPELINE_CHUNK_SIZE": "30", "DOBBY_PIPELINE_FAILED_SHARE_LIMIT": "1",
            "DOBBY_AUTOMATION_INTERVAL_SECONDS": "2", "DOBBY_AUTOMATION_GATHER_SECONDS": "2",
        }  # fmt: skip
        with dagster_dev(folder, environment):
            monitor = MonitorClient.of_home(folder / "home")
            with scraping(monitor.url, folder) as prometheus:
                began = time.time()
                _let_records_arrive(store)
                _plot(prometheus, time.time() - began, picture)
    print(f"A picture of the dashboard's data: {picture}")


def _let_records_arrive(store: CozoStore) -> None:
    for arrival in range(ARRIVALS):
        code = {
            f"f{arrival}_{n}": f"def f{n}(a, b):\n    c = a * {arrival * RECORDS + n}\n    return b + c\n"
            for n in range(RECORDS)
        }
        put(store, code | {f"broken{arrival}_{n}": f"{arrival} {n} " + "0 " * 60 for n in range(4)})
        time.sleep(PAUSE_SECONDS)


def _plot(prometheus: Prometheus, seconds: float, picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    rows = -(-len(panels) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(15, 2.4 * rows), layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for panel, axis in zip(panels, axes.flat, strict=False):
        factor, unit = FACTORS[panel["fieldConfig"]["defaults"]["unit"]]
        for target in panel["targets"]:
            for series in prometheus.query_range(filled(target["expr"]), seconds):
                times = [float(at) - time.time() + seconds for at, _ in series["values"]]
                values = [float(value) / factor for _, value in series["values"]]
                axis.plot(times, values, label=_label(target["legendFormat"], series["metric"]), linewidth=1.2)
        axis.set_title(f"{panel['title']}{f', {unit}' if unit else ''}", fontsize=10)
        axis.tick_params(labelsize=7)
        axis.set_ylim(bottom=0)
        if any(axis.get_legend_handles_labels()[1]):
            axis.legend(fontsize=6, loc="upper left")
    figure.supxlabel("seconds", fontsize=8)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=70)


def _label(pattern: str, labels: dict[str, Any]) -> str:
    for name, value in labels.items():
        pattern = pattern.replace("{{" + name + "}}", str(value))
    return pattern
