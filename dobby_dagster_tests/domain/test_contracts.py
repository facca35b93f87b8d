"""Performance contracts are data; their limits are settings, for all models or for a class."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.contract_settings import ClassLimits, ContractSettings
from dobby_dagster.domain.contracts import CONTRACTS, PER_BATCH, Contract, Part, PerformanceClass
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings_loader import load_settings
from dobby_dagster.pipeline.reporting.batch_metrics import batch_metrics
from dobby_dagster.store.cozo_store import CozoStore

positive = st.floats(1e-6, 1e9)
contracts = st.sampled_from(CONTRACTS)
groups = st.builds(
    PerformanceClass,
    st.sampled_from(["small", "large"]),
    st.sampled_from(["cpu", "cuda"]),
    st.sampled_from(["short", "long"]),
)
entries = st.builds(
    ClassLimits,
    model=st.sampled_from(["", "small", "large"]),
    device=st.sampled_from(["", "cpu", "cuda"]),
    prompt_length=st.sampled_from(["", "short", "long"]),
    pipeline_error_rate=st.none() | st.floats(0, 1),
)


def test_every_part_has_contracts_and_names_are_unique() -> None:
    assert {contract.part for contract in CONTRACTS} == set(Part)
    assert len({contract.name for contract in CONTRACTS}) == len(CONTRACTS)


def test_a_batchs_figures_are_among_its_metrics(sqlite_store: CozoStore) -> None:
    values = batch_metrics(sqlite_store, Scope("recipe", "batch-000001"))
    assert {contract.measure for contract in PER_BATCH} <= set(values)


@given(contracts, positive, st.floats(0.01, 0.99))
def test_what_is_as_good_as_the_baseline_or_better_is_no_regression(
    contract: Contract, baseline: float, share: float
) -> None:
    limit = contract.regressed(baseline, share)
    better, worse = (0.5, 2.5) if contract.kind == "at most" else (2.0, 0.001)
    assert contract.holds(baseline, limit)
    assert contract.holds(baseline * better, limit)
    assert not contract.holds(baseline * worse, limit)


@given(st.lists(entries), st.none() | st.floats(0, 1), groups)
def test_the_limit_of_a_class_is_the_most_specific_one(
    classes: list[ClassLimits], general: float | None, group: PerformanceClass
) -> None:
    settings = ContractSettings(pipeline_error_rate=general, classes=tuple(classes))
    found = settings.limit("pipeline_error_rate", group)
    fitting = [c for c in classes if c.matches(group) and c.pipeline_error_rate is not None]
    if not fitting:
        assert found == general
    else:
        most = max(entry.names for entry in fitting)
        assert found in {entry.pipeline_error_rate for entry in fitting if entry.names == most}


@given(groups, st.lists(entries))
def test_a_limit_of_another_class_changes_nothing(group: PerformanceClass, classes: list[ClassLimits]) -> None:
    others = tuple(entry for entry in classes if not entry.matches(group))
    assert ContractSettings(classes=others).limit("pipeline_error_rate", group) is None


@given(st.none() | st.floats(0, 1e5))
def test_every_prompt_has_one_length(tokens: float | None) -> None:
    length = PerformanceClass.of("small", "cpu", tokens).prompt_length
    assert (length == "unknown") == (tokens is None)
    if tokens is not None:
        assert (length == "short", length == "long") == (tokens < 100, tokens > 500)


CLASSES = "[[contracts.classes]]\nmodel = 'large'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[contracts]\npipeline_eror_rate = 0.1",
            r"unknown setting 'contracts.pipeline_eror_rate' \(did you mean 'contracts.pipeline_error_rate'\?\)",
        ),
        (f"{CLASSES}pipeline_eror_rate = 0.1", "'pipeline_eror_rate' names no contract, did you mean 'pipeline_error_"),
        (f"{CLASSES}pipeline_error_rate = -1", "contracts.classes.*greater than or equal to 0"),
        (f"{CLASSES}prompt_length = 'huge'", "contracts.classes.*'short', 'middle', 'long'"),
        ("[contracts]\nstore_get_1_seconds = inf", "store_get_1_seconds = inf is invalid: must be at most"),
        ("[contracts]\nregression = 1", "contracts.regression = 1 is invalid: must be less than 1"),
        ("[contracts]\nbaseline_batches = 0", "contracts.baseline_batches = 0 is invalid"),
    ],
)
def test_a_wrong_limit_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "dobby.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(file=file, environment={})
    assert "\n" not in str(caught.value)


def test_limits_come_from_file_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "dobby.toml"
    file.write_text(f"[contracts]\npipeline_memory_bytes = 9e9\n{CLASSES}pipeline_records_per_second = 2.5\n")
    environment = {"DOBBY_CONTRACTS_PIPELINE_ERROR_RATE": "0.2"}
    settings = load_settings(file=file, environment=environment).settings.contracts
    large = PerformanceClass("large", "cpu", "short")
    names = ("pipeline_memory_bytes", "pipeline_records_per_second", "pipeline_error_rate", "store_get_1_seconds")
    assert [settings.limit(name, large) for name in names] == [9e9, 2.5, 0.2, None]
