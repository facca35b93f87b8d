"""From settings to resources."""

from __future__ import annotations

from typing import Any

from dobby_dagster.defs.io_manager import CozoIOManager
from dobby_dagster.defs.resources import CozoDatabase, ModelPool, PipelineOptions
from dobby_dagster.domain.settings import Settings


def build_resources(settings: Settings) -> dict[str, Any]:
    """All resources as ``settings`` have them."""
    database = CozoDatabase(
        url=settings.database.url,
        timeout_seconds=settings.database.timeout_seconds,
        lease_timeout_seconds=settings.database.lease_timeout_seconds,
        source=settings.source.model_dump(mode="json", exclude_none=True),
    )
    models = ModelPool(
        model=settings.model.model_dump(mode="json", exclude_none=True),
        inference=settings.inference.model_dump(mode="json", exclude_none=True),
        prompt=settings.prompt.model_dump(mode="json", exclude_none=True),
    )
    options = PipelineOptions(**settings.pipeline.model_dump(mode="json", exclude_none=True))
    return {
        "database": database,
        "models": models,
        "options": options,
        "cozo": CozoIOManager(database=database, models=models, options=options),
    }
