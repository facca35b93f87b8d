"""``python -m bench contracts``: every contract is measured somewhere, and what is broken or unknown is never kept."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.contracts.command import all_probes, main, measured, rows
from bench.contracts.measurement import BY_NAME, Figure, Measurement, Probe, selected
from bench.contracts.store_probes import BACKENDS
from dobby_dagster.domain.contract_settings import ContractSettings
from dobby_dagster.domain.contracts import CONTRACTS

NAME = "store_get_1_seconds"


def test_every_contract_is_measured_and_nothing_else() -> None:
    names = {name for probe in all_probes() for name in probe.contracts}
    assert names == set(BY_NAME)
    assert names == {name for probe in all_probes() if not probe.costs for name in probe.contracts} | {
        "engine_load_large_seconds"
    }, "what only --whole measures"
    for contract in CONTRACTS:
        assert selected(all_probes(), contract.name), contract.name


def verdicts(probe: Probe, *, whole: bool = False, limits: dict[str, float] | None = None) -> list[tuple[str, str]]:
    found = list(measured([probe], "", ContractSettings(**(limits or {})), whole))
    assert [row[""] for row in rows(found)] == [each.verdict for each in found]
    return [(each.verdict, each.note) for each in found]


def test_what_is_not_measured_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> dict[str, float]:
        raise RuntimeError("no such thing")

    assert verdicts(Probe("x", (NAME,), lambda: {NAME: 0.01})) == [("holds", "")]
    assert verdicts(Probe("x", (NAME,), lambda: {NAME: Figure(0.01, "so")}, "long"), whole=True) == [("holds", "so")]
    assert verdicts(Probe("x", (NAME,), lambda: {NAME: 0.01}, "long")) == [("unknown", "not measured: long (--whole)")]
    assert verdicts(Probe("x", (NAME,), dict)) == [("unknown", "not measured")]
    assert verdicts(Probe("x", (NAME,), fail)) == [("unknown", "FAILED: RuntimeError: no such thing")]
    assert verdicts(Probe("x", (NAME,), lambda: {NAME: 0.01}), limits={NAME: 0.001}) == [("BROKEN", "")]


@given(st.sampled_from(CONTRACTS), st.none() | st.floats(0, 1e12), st.floats(0, 1e12))
def test_a_figure_holds_breaks_or_is_unknown(contract: Any, value: float | None, limit: float) -> None:
    verdict = Measurement(contract, "x", value, limit).verdict
    assert (verdict == "unknown") == (value is None)
    if value is not None:
        kept = value <= limit if contract.kind == "at most" else value >= limit
        assert (verdict == "holds") == kept


def test_a_prefix_that_fits_no_contract_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "stor_get_1_seconds"])
    assert ended.value.code == 2
    assert "--only stor_get_1_seconds names no contract, did you mean 'store_get_1_seconds" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "status"), [(900.0, 0), (0.0, 1)])
def test_cheap_contracts_are_measured_on_real_databases(tmp_path: Path, limit: float, status: int) -> None:
    config, results = tmp_path / "dobby.toml", tmp_path / "results.json"
    config.write_text(f"[contracts]\nstore_transaction_100_seconds = {limit}\nstore_transaction_1000_seconds = 900\n")
    command = [sys.executable, "-m", "bench", "contracts", "--only", "store_transaction", "--config", str(config)]
    done = subprocess.run([*command, "--json", str(results)], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    found = {(each["name"], each["group"]): each for each in json.loads(results.read_text())["contracts"]}
    names = ("store_transaction_100_seconds", "store_transaction_1000_seconds")
    assert set(found) == {(name, backend) for name in names for backend in BACKENDS}
    for (name, _), each in found.items():
        assert each["value"] > 0
        assert each["holds"] == (name == names[1] or limit > 0)
    assert done.stdout.count("BROKEN") == (0 if limit else len(BACKENDS))
