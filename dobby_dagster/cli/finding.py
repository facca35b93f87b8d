"""What a check of ``dobby doctor`` gets and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

# Returns a command line of dobby that works with the present settings, given its name and arguments.
Command: TypeAlias = Callable[..., str]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: What was checked.
        ok: Whether it is well.
        message: What was found.
        remedy: How to fix it, or a command that helps.
    """

    name: str
    ok: bool
    message: str
    remedy: str = ""
