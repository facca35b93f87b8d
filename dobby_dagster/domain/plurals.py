"""Numbers with their nouns, and names in a row."""

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """``number`` with ``noun``, given in the singular, in the right form.

    >>> counted(1, "batch"), counted(2, "batch"), counted(1_000, "summary")
    ('1 batch', '2 batches', '1,000 summaries')
    """
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{number:,} {noun[:-1]}ies"
    return f"{number:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def spanned(names: Sequence[str]) -> str:
    """The first and the last of ``names``, which are in order; empty if there are none.

    >>> spanned(["batch-000001", "batch-000002", "batch-000005"]), spanned(["batch-000001"])
    ('batch-000001 to batch-000005', 'batch-000001')
    """
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}" if names else ""
