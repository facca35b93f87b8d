"""The process ``dobby``: its signals and its exit status.

The commands are imported by :func:`main`, so that Ctrl-C in the first half second is answered like any other.
"""

from __future__ import annotations

import os
import signal
import sys


def heed_interrupts() -> None:
    """Let the process be stopped, and what it starts.

    A shell script starts its background jobs with SIGINT ignored. Dagster handles SIGTERM as it finds SIGINT handled,
    and its helpers inherit that: they would outlive their end by half a minute each, and the run with them.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """Run the command; whatever happens in it is one line and a status."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    heed_interrupts()
    try:
        from dobby_dagster.cli.commands import run
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped; nothing was done\n")
        sys.exit(130)
    sys.exit(run())


if __name__ == "__main__":
    main()
