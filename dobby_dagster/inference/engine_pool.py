"""The engines of this process: each is used by one run at a time, and kept with its model for the next."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine import Engine
from dobby_dagster.inference.engine_selection import engine_for
from dobby_dagster.inference.loaded_models import LoadedModelFile
from dobby_dagster.inference.local.local_engine import LoadedState, LocalEngine
from dobby_dagster.inference.local.memory_budget import memory_is_short
from dobby_dagster.inference.models.model_lookup import check_model, find_model
from dobby_dagster.inference.models.model_source import ModelSource

log = logging.getLogger("dobby")
# While an engine is idle, the free memory is looked at this often.
CHECK_SECONDS = 5.0
# What the engine does not depend on.
_NOT_OF_THE_MODEL = {"idle_seconds", "url", "served_name", "api_key", "credentials", "timeout_seconds"}
_NOT_OF_INFERENCE = {"stall_seconds"}
# The model's path and revision, and the settings.
Key: TypeAlias = tuple[str, str, str, str]


class PooledEngine(LocalEngine):
    """A local engine that ``dobby models`` shows while its model is loaded.

    Args:
        source: A checked model.
        model: Device, dtype, quantization, and backend.
        inference: Slots, memory and generation.
        before_load: Called before the model is loaded.

    Attributes:
        key: What it depends on; an engine with an equal key does the same.
    """

    def __init__(
        self, source: ModelSource, model: ModelSettings, inference: InferenceSettings, before_load: Callable[[], None]
    ) -> None:
        super().__init__(source, model, inference)
        self.key: Key = key_of(source, model, inference)
        self.file: LoadedModelFile | None = None
        self._before_load = before_load

    def _load(self) -> LoadedState:
        self._before_load()
        loaded = super()._load()
        try:
            if check_model(self.source.path).revision != self.source.revision:
                raise ModelError(f"the files of {self.source.name} changed while it was loaded", hint="run it again")
            self.file = LoadedModelFile(loaded.info)
        except BaseException:
            loaded.close()
            raise
        return loaded

    def close(self) -> None:
        """See :class:`~dobby_dagster.inference.engine.Engine`."""
        super().close()
        if self.file is not None:
            self.file.remove()
            self.file = None

    @property
    def can_be_kept(self) -> bool:
        """Whether it holds a model, and nothing that another process may wait for.

        Runs get the device one after the other; the memory of a GPU has to be free for the next process. vLLM
        takes its memory in advance, whether it runs or not.
        """
        return self._loaded is not None and self._loaded.info.device == "cpu" and self._loaded.info.engine != "vllm"


def key_of(source: ModelSource, model: ModelSettings, inference: InferenceSettings) -> Key:
    """All that an engine depends on: the model's files, by their content, and the settings."""
    return (
        str(source.path.resolve()),
        source.revision,
        model.model_dump_json(exclude=_NOT_OF_THE_MODEL),
        inference.model_dump_json(exclude=_NOT_OF_INFERENCE),
    )


@dataclass(eq=False)
class _Idle:
    engine: PooledEngine
    until: float


class EnginePool:
    """Lends engines, and keeps the last one idle for a while.

    An engine is lent to one run at a time. It is freed, and never lent again, if the run failed or was stopped; before
    another model is loaded; if the free memory becomes short; and after ``model.idle_seconds``. An engine on a GPU, by
    vLLM or behind a URL is freed at the end of its run.

    >>> pool = EnginePool()
    >>> with pool.lend(ModelSettings(), InferenceSettings()) as engine:
    ...     engine.slots
    128
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: _Idle | None = None
        self._inherited: _Idle | None = None
        atexit.register(self.clear)  # an engine may have processes of its own
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    @contextmanager
    def lend(self, model: ModelSettings, inference: InferenceSettings, revision: str = "") -> Iterator[Engine]:
        """An engine, for this block alone; its model is loaded by the first use, unless it was kept.

        Args:
            model: Which model, or which server.
            inference: Slots, memory and generation.
            revision: Of the model that the caller expects; empty: whatever is there.

        Raises:
            ModelError: The model does not exist, can't be used, or is not of that revision.
        """
        if model.url:
            served = engine_for(model, inference)
            try:
                yield served
            finally:
                served.close()
            return
        source = find_model(model)
        if revision and source.revision != revision:
            raise ModelError(f"the files of {source.name} changed since the run began", hint="run it again")
        engine = self._kept(key_of(source, model, inference))
        engine = engine or PooledEngine(source, model, inference, self.clear)
        try:
            yield engine
        except BaseException:  # a run that is stopped, too, may leave it in the middle of something
            engine.close()
            raise
        self._keep(engine, model.idle_seconds)

    def clear(self) -> None:
        """Free the idle engine, if there is one."""
        with self._lock:
            idle, self._idle = self._idle, None
        _close(idle)

    def _forked(self) -> None:
        """In a forked process: no thread is there that could release the lock, or that the engine could be freed by."""
        self._lock = threading.Lock()
        self._inherited, self._idle = self._idle, None

    def _kept(self, key: Key) -> PooledEngine | None:
        """The idle engine, if it has this key."""
        with self._lock:
            idle = self._idle
            if idle is None or idle.engine.key != key:
                return None
            self._idle = None
        if idle.engine.file is not None:
            idle.engine.file.note_use(in_use=True)
        return idle.engine

    def _keep(self, engine: PooledEngine, seconds: float) -> None:
        if seconds <= 0 or not engine.can_be_kept or memory_is_short():
            engine.close()
            return
        try:
            engine.rest()
        except Exception as error:  # an engine that can't run any more is of no use to the next run
            log.warning("%s is not kept for the next run: %s", engine.source.name, error)
            engine.close()
            return
        if engine.file is not None:
            engine.file.note_use(in_use=False)
        idle = _Idle(engine, time.monotonic() + seconds)
        with self._lock:
            before, self._idle = self._idle, idle
            self._check_later(idle)
        _close(before)

    def _check_later(self, idle: _Idle) -> None:
        timer = threading.Timer(min(CHECK_SECONDS, max(0.0, idle.until - time.monotonic())), self._check, [idle])
        timer.daemon = True
        timer.start()

    def _check(self, idle: _Idle) -> None:
        """Free an engine that has been idle for long enough, or whose memory is needed."""
        with self._lock:
            if self._idle is not idle:  # it is in use again, or freed
                return
            if time.monotonic() < idle.until and not memory_is_short():
                self._check_later(idle)
                return
            self._idle = None
        _close(idle)


def _close(idle: _Idle | None) -> None:
    if idle is not None:
        idle.engine.close()


# Of this process: runs of any settings and any database share it.
POOL = EnginePool()
