"""A process with limits on time and memory, and the way to ask it for something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from dobby_dagster.domain.errors import ModelError

# Of the wall: a busy machine may give a process a small part of a core.
_PATIENCE = 20
_ROOT = Path(__file__).resolve().parents[3]
_HINT = "do not use this model"


def ask(program: str, asked: dict[str, Any], what: str, *, seconds: int, memory_bytes: int) -> dict[str, Any]:
    """Run a program of this package, and give what it answers.

    Args:
        program: A module of this package, whose ``main`` reads JSON and prints JSON.
        asked: What it reads.
        what: What it tries, for messages.
        seconds: Of processor time.
        memory_bytes: Of address space.

    Raises:
        ModelError: It refuses, takes longer, needs more memory, or crashes.
    """
    limits = {"seconds": seconds, "memory_bytes": memory_bytes}
    # It needs nothing of the environment, which may hold secrets.
    environment = {"PYTHONPATH": str(_ROOT), "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment |= {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "LANG") if name in os.environ}
    try:
        ended = subprocess.run(  # noqa: S603  # this interpreter, and a module of this package
            [sys.executable, "-m", f"{__package__}.{program}"],
            input=json.dumps({"limits": limits, **asked}),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=seconds * _PATIENCE,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{what} takes more than {seconds} s", hint=_HINT) from None
    if ended.returncode == -24:  # SIGXCPU
        raise ModelError(f"{what} takes more than {seconds} s", hint=_HINT)
    if ended.returncode:
        raise ModelError(f"{what} crashes, or needs more than {memory_bytes / 1e9:.0f} GB of memory", hint=_HINT)
    answer: dict[str, Any] = json.loads(ended.stdout)
    if "refusal" in answer:
        raise ModelError(f"{what} {answer['refusal']}", hint=_HINT)
    return answer


def asked_for() -> dict[str, Any]:
    """In the process itself: what is asked for; from now on its limits hold, where the system has any."""
    asked: dict[str, Any] = json.load(sys.stdin)
    limits = asked.pop("limits")
    try:
        import resource
    except ImportError:  # Windows: the time limit alone
        return asked
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["seconds"], limits["seconds"] + 1))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (limits["memory_bytes"], limits["memory_bytes"]))
    return asked


def answer(answered: dict[str, Any]) -> None:
    """In the process itself: give the answer."""
    json.dump(answered, sys.stdout)
