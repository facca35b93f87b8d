"""What a host of the several-hosts test does: ``dobby summarize``, again and again, in one process.

Run as ``python -m dobby_dagster_tests.helpers.host_worker URL FOLDER CLAIM_SECONDS``; the host's name is in ``HOST_NAME``.
Each content that is inferred is a line of ``FOLDER/inferred``.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path


def main(url: str, folder: Path, claim_seconds: float) -> None:
    """Plan, run what is unfinished, and begin again, whatever happens."""
    socket.sethostname(os.environ["HOST_NAME"])
    from dobby_dagster.defs.runs.terminal_runs import plan_and_run
    from dobby_dagster.domain.errors import DobbyError
    from dobby_dagster.domain.settings import Settings
    from dobby_dagster_tests.helpers.hanging_engine import install

    install(folder)
    settings = Settings.model_validate(
        {
            "database": {"url": url, "timeout_seconds": 2},
            "pipeline": {"batch_size": 40, "chunk_size": 8, "claim_seconds": claim_seconds},
            "dagster": {"home": str(folder / "home")},
        }
    )
    print(f"{socket.gethostname()} begins", flush=True)
    while True:
        try:
            report = plan_and_run(settings)
            print(f"{report.done} done, failures: {report.failures}", flush=True)
        except DobbyError as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
