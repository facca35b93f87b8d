"""A database with a few functions, and the assets that run on it."""

import pytest

from dobby_dagster_tests.helpers.records import put
from dobby_dagster_tests.helpers.run_world import CODE, RunWorld
from dobby_dagster_tests.helpers.world import Make


@pytest.fixture
def world(make_settings: Make) -> RunWorld:
    made = RunWorld(make_settings(pipeline__batch_size=5, pipeline__chunk_size=3, model__device="cpu"))
    put(made.store, CODE)
    return made
