"""How a confidence is written for people, wherever one is shown."""

from __future__ import annotations


def shown_confidence(confidence: float | None) -> str:
    """A confidence, or a mean of several, with two decimals: it is not calibrated to more.

    >>> shown_confidence(0.987), shown_confidence(None)
    ('0.99', 'unknown')
    """
    return "unknown" if confidence is None else f"{confidence:.2f}"
