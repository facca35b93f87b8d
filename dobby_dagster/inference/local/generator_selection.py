"""Which backend generates: the requested one, else the first that can run the model on this machine."""

from __future__ import annotations

import logging
from dataclasses import replace

from dobby_dagster.domain.errors import DobbyError, ModelError
from dobby_dagster.inference.engine_choice import candidates, need_of, way_out
from dobby_dagster.inference.engine_features import ENGINES
from dobby_dagster.inference.local.backends import BACKENDS
from dobby_dagster.inference.local.generator import LoadedGenerator, LoadRequest
from dobby_dagster.inference.models.model_folder import one_line

log = logging.getLogger("dobby")


def load_generator(request: LoadRequest) -> LoadedGenerator:
    """Load the weights into the backend that the settings name; ``auto`` tries all, in the order of the table.

    Raises:
        ModelError: The weights can't be loaded, or no allowed backend can run the model.
    """
    requested, name = request.model.engine, request.source.name
    failed: dict[str, str] = {}
    need = need_of(request.source.config, request.model, request.inference, request.placement)
    for backend, obstacle in candidates(need).items():
        if obstacle:
            failed[backend] = obstacle
            continue
        try:
            loaded = BACKENDS[backend](request)
        except DobbyError:  # a broken folder is broken for every backend
            raise
        except Exception as error:  # whatever a library raises for a model that it can't run: try the next backend
            failed[backend] = one_line(error)
            log.warning("%s can't be run by %s: %s", name, backend, failed[backend])
        else:
            why = ENGINES[backend].reason if requested == "auto" else f"{backend} was requested"
            others = [f"not {other}: {reason}" for other, reason in failed.items()]
            notes = [why, loaded.note, *_weights_note(request, backend), *others]
            return replace(loaded, note="; ".join(filter(None, notes)))
    hint = way_out(need) or "dobby doctor --engines shows what each supports"
    raise ModelError(f"{name} can't be run by {backend}: {failed[backend]}", hint=hint)


def _weights_note(request: LoadRequest, backend: str) -> list[str]:
    """How quantized weights are held in memory, for people; empty where they are not quantized."""
    source = request.source
    if not source.quantization:
        return []
    kept = ENGINES[backend].keeps_int8 and request.model.quantization == "int8" and source.keeps_int8
    return [f"weights {'kept as they are in' if kept else 'dequantized from'} {source.quantization}"]
