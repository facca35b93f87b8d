"""Packages that only some backends need: they are large, and not installed with Dobby everywhere."""

from __future__ import annotations

import sys
from importlib.util import find_spec

# By import name, the requirement for pip, as in pyproject.toml.
_REQUIREMENTS = {
    "torch": "torch",
    "transformers": "transformers",
    "openvino": "'openvino>=2026.4,<2026.5'",
    "ml_dtypes": "ml-dtypes",
    "mlx": "mlx" if sys.platform == "darwin" else "'mlx[cpu]'",
    "gguf": "'dobby-dagster[gguf]'",
    "vllm": "'dobby-dagster[vllm]'",
    "matplotlib": "'dobby-dagster[report]'",
}


def requirement(name: str) -> str:
    """What pip installs for an import name, quoted for a shell.

    >>> requirement("ml_dtypes")
    'ml-dtypes'
    """
    return _REQUIREMENTS.get(name, name)


def missing(*names: str) -> str:
    """Which of these packages are not installed, with the command that installs them; ``""`` where all are.

    >>> missing("json")
    ''
    """
    absent = [name for name in names if find_spec(name) is None]
    if not absent:
        return ""
    verb = "is" if len(absent) == 1 else "are"
    command = " ".join(map(requirement, absent))
    return f"{' and '.join(absent)} {verb} not installed: pip install {command}"
