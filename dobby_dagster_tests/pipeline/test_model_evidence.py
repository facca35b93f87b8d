"""What a report says of a model's confidence is of exactly the model that made the summaries."""

import json
import shutil
from pathlib import Path

import pytest

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.reliability import RELIABILITY, read_reliability
from dobby_dagster.inference.models.shipped_models import shelf
from dobby_dagster.pipeline.reporting.model_evidence import ModelEvidence, model_evidence

SHIPPED = shelf()[SMALL_MODEL]
GOOD = {"measured_on": "a test", "bins": [{"confidence": 0.5, "agree": 0.4, "count": 10}]}


def test_every_shipped_model_has_its_reliability_measured() -> None:
    for folder in shelf().values():
        measured = read_reliability(folder)
        assert measured is not None, folder
        assert measured.count > 1_000
        assert measured.error < 0.1


def test_a_shipped_model_is_found_by_its_revision() -> None:
    revision = check_folder(SHIPPED).revision
    found = model_evidence(SMALL_MODEL, revision, ModelSettings())
    assert found.found
    assert found.meaning.startswith("the probability")
    assert found.reliability == read_reliability(SHIPPED)
    assert model_evidence(SMALL_MODEL, "another", ModelSettings()) == ModelEvidence()
    assert model_evidence("unheard-of", revision, ModelSettings()) == ModelEvidence()


def test_the_model_in_use_is_found_by_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(SHIPPED, folder)
    (folder / RELIABILITY).unlink()
    found = model_evidence("mine", check_folder(folder).revision, ModelSettings(path=str(folder)))
    assert (found.found, found.reliability) == (True, None)


@pytest.mark.parametrize(
    "change",
    [{"bins": []}, {"bins": [{"confidence": 2, "agree": 0, "count": 1}]}, {"measured_on": 1}, {"extra": 1}],
)
def test_a_malformed_file_is_an_error_that_names_it(tmp_path: Path, change: dict) -> None:
    (tmp_path / RELIABILITY).write_text(json.dumps(GOOD | change))
    with pytest.raises(ModelError, match=RELIABILITY):
        read_reliability(tmp_path)


def test_no_file_is_unknown(tmp_path: Path) -> None:
    assert read_reliability(tmp_path) is None
