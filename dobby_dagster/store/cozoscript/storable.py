"""What CozoDB can't hold, found before it is sent: one such value would undo the whole transaction that it is in.

That is text with half a character in it (a lone surrogate, as in a file name that is no UTF-8 or in an answer that was
cut), whole numbers past 64 bits, and, where a number is wanted, what is none.
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
    r"""``text`` with each half of a character as its escape.

    >>> storable_text("a\ud83d"), storable_text("é")
    ('a\\ud83d', 'é')
    """
    return text.encode("utf-8", "backslashreplace").decode()


def storable_value(value: Any) -> Any:
    """The same for every text in a structure of JSON's."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, Mapping):
        return {storable_value(key): storable_value(inner) for key, inner in value.items()}
    return [storable_value(inner) for inner in value] if isinstance(value, list | tuple) else value


def storable_state(state: ProcessingState) -> ProcessingState:
    """``state`` with texts that can be stored: they are for people."""
    return replace(state, error=storable_text(state.error), reason=storable_text(state.reason))


def check_summary(summary: Summary) -> None:
    """Raise where something in ``summary`` can't be stored as it is.

    Raises:
        UnstorableError: The field and its value are named.
    """
    for name, value in asdict(summary).items():
        if isinstance(value, str) and value != storable_text(value):
            raise UnstorableError(f"the model's {name} holds half a character: '{shortened(storable_text(value), 80)}'")
        if isinstance(value, float) and not math.isfinite(value):
            raise UnstorableError(f"the model's {name} is {value}")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise UnstorableError(f"the model's {name} is {value}, past 64 bits")
