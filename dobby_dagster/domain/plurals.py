"""Numbers with their nouns."""


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
