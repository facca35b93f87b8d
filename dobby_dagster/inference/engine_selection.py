"""Which engine runs a model: a local one for a folder, a client for a URL."""

from __future__ import annotations

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Engine


def engine_for(model: ModelSettings, inference: InferenceSettings) -> Engine:
    """The engine for these settings; the model is loaded at its first use.

    Raises:
        ModelError: The model does not exist, or can't be used.
    """
    if model.url:
        from dobby_dagster.inference.remote.server_engine import ServerEngine

        return ServerEngine(model, inference)
    from dobby_dagster.inference.local.local_engine import LocalEngine
    from dobby_dagster.inference.models.model_lookup import find_model

    return LocalEngine(find_model(model), model, inference)
