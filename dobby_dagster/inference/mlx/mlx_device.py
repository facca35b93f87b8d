"""Whether MLX can be used, on which device, and how work reaches it from any thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from dobby_dagster.inference.optional_packages import missing, requirement

P = ParamSpec("P")
R = TypeVar("R")


class _HasStream(Protocol):
    stream: Any


T = TypeVar("T", bound=_HasStream)


def unusable_reason() -> str:
    """Why MLX can't be imported, with the command that installs it; ``""`` where it can."""
    if reason := missing("mlx", "ml_dtypes"):
        return reason
    try:
        import mlx.core  # noqa: F401
    except ImportError as error:  # on Linux, mlx alone has no library that computes
        return f"mlx can't be imported ({error}): pip install {requirement('mlx')}"
    return ""


def without_gpu_reason() -> str:
    """Why MLX can't use Apple's GPU; ``""`` where it can."""
    if reason := unusable_reason():
        return reason
    import mlx.core as mx

    return "" if mx.metal.is_available() else "MLX finds no Metal device"


def stream_on(device: str) -> Any:
    """Where work on ``cpu`` or ``mps`` is queued: a queue for each thread that uses it, since MLX shares none."""
    import mlx.core as mx

    return mx.new_thread_local_stream(mx.cpu if device == "cpu" else mx.gpu)


def on_stream(method: Callable[Concatenate[T, P], R]) -> Callable[Concatenate[T, P], R]:
    """Let a method compute on the ``stream`` of its object.

    The method has to evaluate what it leaves behind: a thread can't evaluate what another one has queued.
    """

    @wraps(method)
    def run(self: T, /, *args: P.args, **kwargs: P.kwargs) -> R:
        import mlx.core as mx

        with mx.stream(self.stream):
            return method(self, *args, **kwargs)

    return run
