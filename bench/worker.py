"""One peer in a process of its own: reads commands as JSON lines, answers with what they took."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path


def peak_bytes() -> int:
    """The most resident memory that this program had; getrusage would count what its parent had before it as well."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(name: str, folder: str) -> None:
    """Load, then run what is asked; standard output is for answers only."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from bench.peers import PEERS

    began = time.perf_counter()
    try:
        peer = PEERS[name][1]()
        peer.load(Path(folder))
        print(json.dumps({"load_seconds": time.perf_counter() - began}), file=answers)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}), file=answers)
        return
    for line in sys.stdin:
        command = json.loads(line)
        began = time.perf_counter()
        try:
            outputs = peer.run(command["prompts"], command["new"])
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}), file=answers)
            return
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "outputs": outputs, "peak_bytes": peak_bytes()}), file=answers)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
