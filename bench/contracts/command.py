"""``python -m bench contracts``: measure, print, and exit with 1 where a contract is broken or could not be measured."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.contracts import engine_probes, monitoring_probes, pipeline_probes, store_probes
from bench.contracts.measurement import BY_NAME, Figure, Measurement, Probe, selected
from bench.tables import show
from dobby_dagster.domain.contract_settings import ContractSettings
from dobby_dagster.domain.contracts import CONTRACTS
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.domain.suggest import suggestion


def all_probes() -> list[Probe]:
    """Every probe, in the order of the table of contracts."""
    modules = (store_probes, engine_probes, pipeline_probes, monitoring_probes)
    return [probe for module in modules for probe in module.probes()]


def measured(probes: Sequence[Probe], prefix: str, limits: ContractSettings, whole: bool) -> Iterator[Measurement]:
    """Run the probes; a contract that none of them measures, or whose probe fails or is left out, is unknown."""
    for probe in probes:
        figures: dict[str, float | Figure] = {}
        note = f"not measured: {probe.costs} (--whole)"
        if whole or not probe.costs:
            print(f"{probe.group}: {', '.join(probe.contracts)}", file=sys.stderr, flush=True)
            try:
                figures = dict(probe.run())
                note = "not measured"
            except Exception as error:
                traceback.print_exc()
                note = f"FAILED: {type(error).__name__}: {error}"[:300]
        for name in probe.contracts:
            if name.startswith(prefix):
                contract, given = BY_NAME[name], figures.get(name, Figure(None, note))
                figure = given if isinstance(given, Figure) else Figure(float(given))
                chosen = getattr(limits, name)
                limit = contract.limit if chosen is None else chosen
                yield Measurement(contract, probe.group, figure.value, limit, figure.note)


def rows(measurements: Sequence[Measurement]) -> list[dict[str, object]]:
    """The table: a row for each contract and group."""
    return [
        {
            "contract": found.contract.name,
            "what": found.contract.meaning,
            "measured on": found.group,
            "limit": f"{found.contract.kind} {_written(found.limit)}",
            "measured": "unknown" if found.value is None else _written(found.value),
            "unit": found.contract.unit,
            "": found.verdict,
            "note": found.note,
        }
        for found in measurements
    ]


def document(measurements: Sequence[Measurement]) -> dict[str, object]:
    """The results as JSON."""
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "load_average": os.getloadavg()[0],
        "contracts": [
            {
                "name": found.contract.name,
                "group": found.group,
                "value": found.value,
                "limit": found.limit,
                "kind": found.contract.kind,
                "unit": found.contract.unit,
                "holds": None if found.value is None else found.verdict == "holds",
                "note": found.note,
            }
            for found in measurements
        ],
    }


def _written(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def main(arguments: list[str]) -> int:
    """Measure what is asked for; 1 where a contract is broken or its measurement failed, 2 for a wrong argument."""
    parser = argparse.ArgumentParser("python -m bench contracts", description=__doc__)
    parser.add_argument("--only", default="", metavar="PREFIX", help="contracts whose name begins with PREFIX")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file; limits are in [contracts]")
    parser.add_argument("--whole", action="store_true", help="also what takes long or much memory")
    chosen = parser.parse_args(arguments)
    probes = selected(all_probes(), chosen.only)
    if not probes:
        parser.error(f"--only {chosen.only} names no contract, {suggestion(chosen.only, [c.name for c in CONTRACTS])}")
    limits = load_settings(file=chosen.config).settings.contracts
    found = list(measured(probes, chosen.only, limits, chosen.whole))
    show("Contracts", rows(found))
    if chosen.json:
        chosen.json.write_text(json.dumps(document(found), indent=1) + "\n", encoding="utf-8")
    bad = [each for each in found if each.verdict == "BROKEN" or each.note.startswith("FAILED")]
    print(f"{len(found)} measured contracts, {len(bad)} broken or failed, load average {os.getloadavg()[0]:.1f}")
    return 1 if bad else 0
