"""Which backend generates: the requested one, else the first that can run the model on this machine."""

from __future__ import annotations

import logging
from dataclasses import replace

from dobby_dagster.domain.errors import DobbyError, ModelError
from dobby_dagster.inference.local.backends import BACKENDS, unsupported_reason
from dobby_dagster.inference.local.generator import LoadedGenerator, LoadRequest
from dobby_dagster.inference.models.model_folder import one_line
from dobby_dagster.inference.models.tensor_files import INT8

log = logging.getLogger("dobby")


def load_generator(request: LoadRequest) -> LoadedGenerator:
    """Load the weights into the backend that the settings name; ``auto`` tries all, the fastest first.

    Raises:
        ModelError: The weights can't be loaded, or no allowed backend can run the model.
    """
    requested, name = request.model.engine, request.folder.name
    failed: dict[str, str] = {}
    for backend in BACKENDS if requested == "auto" else [requested]:
        try:
            reason = unsupported_reason(backend, request)
            if not reason:
                loaded = BACKENDS[backend].load(request)
                notes = [loaded.reason, *_weights_note(request, backend), *(f"not {b}: {r}" for b, r in failed.items())]
                return replace(loaded, reason="; ".join(notes))
        except DobbyError:  # a broken folder is broken for every backend
            raise
        except Exception as error:  # whatever a library raises for a model that it can't run: try the next backend
            reason = one_line(error)
            log.warning("%s can't be run by %s: %s", name, backend, reason)
        failed[backend] = reason
    hint = "use model.engine = auto" if requested != "auto" else ""
    raise ModelError(f"{name} can't be run by {backend}: {failed[backend]}", hint=hint)


def _weights_note(request: LoadRequest, backend: str) -> list[str]:
    """How quantized weights are held in memory, for people; empty where they are not quantized."""
    scheme = request.folder.scheme
    if scheme is None:
        return []
    kept = backend == "openvino" and request.model.quantization == "int8" and INT8 in scheme.dtypes
    return [f"weights {'kept as they are in' if kept else 'dequantized from'} {scheme.name}"]
