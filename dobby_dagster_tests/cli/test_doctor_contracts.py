"""What doctor says of performance contracts that the last batches break: the alerts about them name this command."""

from dobby_dagster.cli.database_checks import database_checks
from dobby_dagster.cli.finding import Finding
from dobby_dagster.domain.contracts import SMALL_MODEL, PerformanceClass
from dobby_dagster.domain.records import batch_id
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.pipeline_run import RECIPE
from dobby_dagster_tests.helpers.world import Make


def of_contracts(settings: Settings) -> list[Finding]:
    found = database_checks(settings, lambda *words: " ".join(["dobby", *words]))
    return [finding for finding in found if finding.name == "contract"]


def test_doctor_names_broken_contracts_and_what_to_look_at(sqlite_store: CozoStore, make_settings: Make) -> None:
    sqlite_store.recipes.remember(RECIPE)
    assert of_contracts(make_settings()) == []
    group = PerformanceClass(SMALL_MODEL, "cpu", "short")
    figures = {"records_per_second": 3.0, "error_rate": 0.5, "memory_bytes": 1e9}
    sqlite_store.performance.add(group, Scope(RECIPE.id, batch_id(1)), 1.0, figures)
    speed, errors = of_contracts(make_settings())
    assert speed.message == f"pipeline_records_per_second: 3 records/s (at least 20); {group}"
    assert (speed.ok, speed.remedy) == (True, "dobby report")
    assert errors.message.startswith("pipeline_error_rate: 0.5 of all records (at most 0.01)")
    assert errors.remedy == "dobby failed list"
