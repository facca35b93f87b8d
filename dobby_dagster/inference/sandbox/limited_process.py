"""Runs a program of this package in a process with limits on time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from dobby_dagster.domain.errors import ModelError

# The wall-clock limit, in multiples of the CPU limit: a busy machine may give a process a small part of a core.
_PATIENCE = 20
_ROOT = Path(__file__).resolve().parents[3]
_HINT = "do not use this model"


def ask(program: str, question: dict[str, Any], what: str, *, seconds: int, memory_bytes: int) -> dict[str, Any]:
    """Run a program of this package, and return its answer.

    Args:
        program: A module of this package whose ``main`` reads JSON from standard input and prints JSON.
        question: The object that it reads.
        what: The subject of error messages.
        seconds: Limit of CPU time.
        memory_bytes: Limit of address space.

    Raises:
        ModelError: It refuses, exceeds a limit, or crashes.
    """
    limits = {"seconds": seconds, "memory_bytes": memory_bytes}
    # Of the environment, which may hold secrets, only what Python needs, to import from where this process does.
    path = os.pathsep.join([str(_ROOT), *(place for place in sys.path if place)])
    environment = {"PYTHONPATH": path, "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment |= {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "LANG") if name in os.environ}
    try:
        ended = subprocess.run(  # noqa: S603  # this interpreter, and a module of this package
            [sys.executable, "-P", "-m", f"{__package__}.{program}"],
            input=json.dumps({"limits": limits, **question}),
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


def read_question() -> dict[str, Any]:
    """In the process itself: read the question, and set the limits, as far as the system supports them."""
    question: dict[str, Any] = json.load(sys.stdin)
    limits = question.pop("limits")
    try:
        import resource
    except ImportError:  # Windows: the time limit alone
        return question
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["seconds"], limits["seconds"] + 1))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (limits["memory_bytes"], limits["memory_bytes"]))
    return question


def answer(result: dict[str, Any]) -> None:
    """In the process itself: print the answer."""
    json.dump(result, sys.stdout)
