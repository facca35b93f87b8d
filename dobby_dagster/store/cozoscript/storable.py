"""Values that CozoDB can't store, found before they are sent: one such value would roll back its whole transaction.

Those are texts with a lone surrogate (as in a file name that is not UTF-8, or in an answer that was cut off), integers
past 64 bits, and floats that are not finite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from dobby_dagster.domain.errors import UnstorableError
from dobby_dagster.domain.printable import shortened
from dobby_dagster.domain.states import ProcessingState
from dobby_dagster.domain.summaries import Summary

LARGEST = 2**63 - 1


def storable_text(text: str) -> str:
    r"""``text`` with each lone surrogate as its escape.

    >>> storable_text("a\ud83d"), storable_text("é")
    ('a\\ud83d', 'é')
    """
    return text.encode("utf-8", "backslashreplace").decode()


def storable_value(value: Any) -> Any:
    """``value`` with :func:`storable_text` applied to every text in it, keys included."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, Mapping):
        return {storable_value(key): storable_value(inner) for key, inner in value.items()}
    return [storable_value(inner) for inner in value] if isinstance(value, list | tuple) else value


def storable_state(state: ProcessingState) -> ProcessingState:
    """``state`` with its texts made storable: people read them, nothing compares them."""
    return replace(state, error=storable_text(state.error), reason=storable_text(state.reason))


def check_summary(summary: Summary) -> None:
    """Check that every field of ``summary`` can be stored unchanged.

    Raises:
        UnstorableError: One can't; the message names the field and its value.
    """
    if not isinstance(summary.text, str):  # an engine's mistake, which no type checker sees
        raise UnstorableError(f"the model's text can't be stored: it is {summary.text!r}")
    for name, value in asdict(summary).items():
        if isinstance(value, str) and value != storable_text(value):
            raise UnstorableError(f"the model's {name} has a lone surrogate: '{shortened(storable_text(value), 80)}'")
        if isinstance(value, float) and not math.isfinite(value):
            raise UnstorableError(f"the model's {name} is {value}")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise UnstorableError(f"the model's {name} is {value}, past 64 bits")
