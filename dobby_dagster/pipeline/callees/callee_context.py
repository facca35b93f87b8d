"""What a model is told of the functions that a content calls."""

from __future__ import annotations

from collections.abc import Sequence

# Calls of a lower certainty don't count: nearly all above are right, and half of those by name alone are not.
CERTAINTY = 0.8
# Characters of a summary that are told, at most.
LENGTH = 160
HEADING = "Calls:"


def callee_context(callees: Sequence[tuple[str, str]], most: int) -> str:
    """The lines that stand before a content; empty if nothing is known of what it calls.

    Args:
        callees: Key and summary of each, the most telling first.
        most: How many are told, at most.

    >>> print(callee_context([("src/a.py::Scanner.peek", "Returns the next token."), ("src/a.py::fail", "Raises.")], 1))
    Calls:
    - Scanner.peek: Returns the next token.
    """
    lines = [f"- {_name(key)}: {_shortened(summary)}" for key, summary in callees[:most]]
    return "\n".join([HEADING, *lines]) if lines else ""


def with_context(context: str, content: str) -> str:
    """What the model reads.

    >>> with_context("", "def f(): ...")
    'def f(): ...'
    """
    return f"{context}\n\n{content}" if context else content


def _name(key: str) -> str:
    return key.rpartition("::")[2]


def _shortened(summary: str) -> str:
    """The summary on one line, cut between two words.

    >>> _shortened("Returns  the next token.")
    'Returns the next token.'
    """
    text = " ".join(summary.split())
    if len(text) <= LENGTH:
        return text
    return f"{text[: LENGTH - 1].rpartition(' ')[0] or text[: LENGTH - 1]}…"
