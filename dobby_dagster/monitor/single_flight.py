"""A function that runs once at a time: callers share its result, and none waits for it without a limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")
# How long a result is given to further callers, and to those that prefer an older one to waiting.
FRESH_SECONDS, RECENT_SECONDS = 0.5, 15.0


class SingleFlight(Generic[T]):
    """A function in a thread of its own.

    A call that hangs, as in native code, occupies that one thread; the process can still end.

    >>> SingleFlight(lambda: 42).result(1.0)
    42

    Args:
        function: Without arguments.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._guard = threading.Lock()
        self._call: Future[T] | None = None
        self._began = self._ended = self._latest_at = 0.0
        self._latest: T | None = None

    def begin(self) -> Future[T]:
        """The call in progress, or that ended less than ``FRESH_SECONDS`` ago; else a new one."""
        with self._guard:
            if self._call is None or (self._call.done() and time.monotonic() - self._ended > FRESH_SECONDS):
                self._call, self._began = Future(), time.monotonic()
                threading.Thread(target=self._run, args=(self._call,), daemon=True).start()
            return self._call

    def result(self, limit_seconds: float) -> T:
        """The result, at most ``limit_seconds`` after its call began.

        Raises:
            TimeoutError: It is not there in time.
            Exception: What the function raised.
        """
        call = self.begin()
        return call.result(max(0.0, self._began + limit_seconds - time.monotonic()))

    def recent(self, limit_seconds: float) -> T:
        """The last result if it is at most ``RECENT_SECONDS`` old, and a new call begins; else as :meth:`result`."""
        call, ended = self._call, self._ended
        if call is not None and call.done() and call.exception() is None:
            self._latest, self._latest_at = call.result(), ended
        self.begin()
        if self._latest is not None and time.monotonic() - self._latest_at < RECENT_SECONDS:
            return self._latest
        return self.result(limit_seconds)

    @property
    def seconds(self) -> float:
        """How long the last call took, or the one in progress has taken."""
        running = self._call is not None and not self._call.done()
        return (time.monotonic() if running else self._ended) - self._began

    def _run(self, call: Future[T]) -> None:
        try:
            value = self._function()
        except BaseException as error:  # a panic of CozoDB is no Exception; it is raised where the result is awaited
            self._ended = time.monotonic()
            call.set_exception(error)
        else:
            self._ended = time.monotonic()
            call.set_result(value)
