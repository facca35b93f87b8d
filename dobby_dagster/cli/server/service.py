"""One process that ``dobby dev`` keeps alive."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# A process that ran for less than this ended early: the pause before its next start doubles.
STEADY_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 30.0


@dataclass
class Service:
    """A process that is restarted whenever it ends, after a pause that grows while it keeps ending early.

    Attributes:
        name: For people.
        command: Its arguments, the program first.
        needs: It is not started before this path exists.
        sockets: File descriptors that it inherits.
        process: The running process; None before the first start and between an end and the next start.
        early_ends: How often in a row it ended within ``STEADY_SECONDS``.
    """

    name: str
    command: list[str]
    needs: Path | None = None
    sockets: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    early_ends: int = 0
    started_at: float = 0.0
    restart_at: float = 0.0

    def ensure_running(self, environment: dict[str, str], log: int, tell: Callable[[str], None]) -> bool:
        """Start the process unless it runs, its pause is not over, or what it needs is missing.

        Args:
            environment: Of the process.
            log: A file descriptor for its output.
            tell: Gets one line if the process has ended.

        Returns:
            Whether it was started now.
        """
        now = time.monotonic()
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return False
            self.early_ends = self.early_ends + 1 if now - self.started_at < STEADY_SECONDS else 0
            self.restart_at = now + min(LONGEST_PAUSE_SECONDS, 0.5 * 2.0**self.early_ends)
            self.process = None
            tell(f"{self.name} ended with status {code}; restarting it")
        if now < self.restart_at or (self.needs is not None and not self.needs.exists()):
            return False
        # The arguments are this package's own. Its own process group: Ctrl-C reaches it through dobby dev, in order.
        self.process = subprocess.Popen(  # noqa: S603
            self.command, env=environment, start_new_session=True, pass_fds=self.sockets, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )  # fmt: skip
        self.started_at = now
        return True
