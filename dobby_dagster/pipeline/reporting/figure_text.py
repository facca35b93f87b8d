"""Figures and times as people read them."""

from __future__ import annotations

import time


def moment(at: float) -> str:
    """A time, in seconds since the epoch, for people, in the local zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(at))


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.4), duration(71), duration(7_260), duration(180_000)
    ('0.4 s', '1 min 11 s', '2 h 1 min', '50 h 0 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def figure(value: float | None, unit: str) -> str:
    """A figure of a contract with its unit.

    >>> figure(8e9, "bytes"), figure(0.0123, "s"), figure(None, "s")
    ('8,000 MB', '0.0123 s', 'unknown')
    """
    if value is None:
        return "unknown"
    return f"{value / 1e6:,.0f} MB" if unit == "bytes" else f"{value:,.3g} {unit}"


def share(part: float, whole: float) -> str:
    """A part as a percentage; 99.96 % is not shown as all.

    >>> share(1, 4), share(3_999, 4_000), share(1, 4_000), share(0, 0)
    ('25.0 %', '>99.9 %', '<0.1 %', 'none')
    """
    if not whole:
        return "none"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1 %"
    return ">99.9 %" if 99.9 < share < 100 else f"{share:.1f} %"
