"""Counters that only grow: every commit adds to them in its own transaction, and nothing takes away from them.

Deleting old chunks, states or summaries leaves them as they are, so a monitoring system can take rates of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import TOTAL

# Upper bounds of the buckets of a histogram, in seconds; what is longer has the label "+Inf".
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
LABELS = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")

Addend: TypeAlias = tuple[str, str, float]
"""The name and the label of a counter, and what is added to it."""


# The relation of outcomes that :func:`add` reads, where there are none.
NO_OUTCOMES = (
    "{ ?[place, state, code, inferred, confidence] <- [] :create _ended {place => state, code, inferred, confidence} }"
)


def add(counted: str) -> str:
    """A block that adds the parameter ``$addends``, and the outcomes in the relation ``_ended``, to the counters.

    A request to a server that may have been executed is sent again, so what is added is named: by a row that the same
    script puts after this block.

    Args:
        counted: An atom that is true if this row is there; then nothing is added.
    """
    return f"""{{ counted[yes] := {counted}, yes = true
part[name, label, place, n] := *_ended{{place, state: label}}, name = 'records', n = 1
part[name, label, place, n] := *_ended{{place, code: label}}, label != '', name = 'errors', n = 1
part[name, label, place, n] := *_ended{{place, inferred: n}}, name = 'inferred', label = ''
part[name, label, place, n] := *_ended{{place, confidence: n}}, is_num(n), name = 'confidence', label = 'sum'
part[name, label, place, n] := *_ended{{place, confidence}}, is_num(confidence), name = 'confidence', label = 'count', n = 1
part[name, label, place, n] := r in $addends, name = get(r, 0), label = get(r, 1), n = get(r, 2), place = -1
added[name, label, sum(n)] := part[name, label, place, n], yes = true, not counted[yes]
?[name, label, value] := added[name, label, n], *{TOTAL.name}{{name, label, value: before}}, value = before + n
?[name, label, value] := added[name, label, value], not *{TOTAL.name}{{name, label}}
{TOTAL.into} }}"""


class Totals:
    """The counters of a database, over all sources, recipes and runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self) -> Mapping[str, Mapping[str, float]]:
        """Every counter, by its name and its label.

        Returns:
            ``records`` by state, ``errors`` by code, ``stalls`` by kind, ``tokens`` by kind (``prompt``, ``output``);
            with the label ``""``: ``inferred``, ``busy_seconds`` (of all chunks) and ``slot_seconds`` (slots held, over
            time); ``confidence`` of summaries and ``device_wait`` of runs, in seconds, both as ``sum`` and ``count``; and three histograms: ``record_seconds`` (the
            share of a record in the time of inference), ``request_seconds`` (how long a request held a slot) and
            ``queue_seconds`` (how long it waited for one), with the number of values in each bucket under its upper
            bound, not cumulated, and their sum under ``sum``.
        """
        found: dict[str, dict[str, float]] = {}
        for name, label, value in self._connection.run(f"{TOTAL.head} := {TOTAL.stored}").rows:
            found.setdefault(name, {})[label] = value
        return found


def histogram(name: str, values: Iterable[float]) -> list[Addend]:
    """What ``values`` add to the histogram ``name``.

    >>> histogram("record_seconds", [0.02, 0.025, 200.0])
    [('record_seconds', '0.025', 2), ('record_seconds', '+Inf', 1), ('record_seconds', 'sum', 200.045)]
    """
    values = list(values)
    counts = Counter(LABELS[bisect_left(BUCKETS, value)] for value in values)
    return [*((name, label, count) for label, count in counts.items()), (name, "sum", sum(values))] if values else []
