"""What is known of the confidence of the model that made some summaries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.models.model_source import ModelSource
from dobby_dagster.inference.models.reliability import Reliability, read_reliability
from dobby_dagster.inference.models.shipped_models import shelf


@dataclass(frozen=True, slots=True)
class ModelEvidence:
    """What a model's folder says of its confidence.

    Attributes:
        found: Whether the folder of exactly this model is here; if not, the rest is unknown.
        meaning: What the confidence is the probability of; empty where it is not calibrated.
        reliability: How far it was right when the model was evaluated; None where that was not measured.
    """

    found: bool = False
    meaning: str = ""
    reliability: Reliability | None = None


def model_evidence(name: str, revision: str, settings: ModelSettings) -> ModelEvidence:
    """What is known of the model ``name`` at ``revision``, if it is the one in use or one that is shipped.

    Args:
        name: Of the model.
        revision: SHA-256 of its files; another model of the same name says nothing about this one.
        settings: The model in use.
    """
    for source in _candidates(name, settings.model_copy(update={"allow_download": False})):
        try:
            if source.revision == revision:
                meaning = source.calibration.meaning if source.calibration else ""
                return ModelEvidence(True, meaning, read_reliability(source.path))
        except ModelError:
            continue
    return ModelEvidence()


def _candidates(name: str, settings: ModelSettings) -> Iterator[ModelSource]:
    shipped = shelf().get(name)
    try:
        if shipped is not None:
            yield check_folder(shipped)
        elif Path(settings.path).name == name:
            yield find_model(settings)
    except ModelError:
        return
