"""From settings to an engine."""

from __future__ import annotations

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Engine


def engine_for(model: ModelSettings, inference: InferenceSettings) -> Engine:
    """The engine that the settings call for; nothing is loaded yet.

    Where ``inference`` sets no limit for new tokens, :data:`NEW_TOKENS` is it: see :meth:`InferenceSettings.within`.

    Raises:
        ModelError: There is no such model, or it can't be used.
    """
    if model.url:
        from dobby_dagster.inference.remote.server_engine import ServerEngine

        return ServerEngine(model, inference)
    from dobby_dagster.inference.local.local_engine import LocalEngine
    from dobby_dagster.inference.models.model_folder import find_model

    return LocalEngine(find_model(model), model, inference)
