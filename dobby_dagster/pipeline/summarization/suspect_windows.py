"""Which records are read and claimed together: after a stall the suspects apart from the others, ever fewer at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dobby_dagster.store.ledger.record_states import Member

SMALL = 16


def windows(
    members: Sequence[Member], size: int, stalls: Mapping[tuple[str, str], int], max_retries: int
) -> Iterator[Sequence[Member]]:
    """``members`` in windows: first those that were in no stall, then those of one, and so on.

    After ``max_retries`` stalls, or the second where fewer are allowed, the record that caused them was alone.

    Args:
        members: In their order.
        size: Of a window without suspects.
        stalls: How many stalls each suspect was in progress at, by key and content hash.
        max_retries: Failed attempts before a record is quarantined.
    """
    groups: dict[int, list[Member]] = {}
    for member in members:
        groups.setdefault(stalls.get((member.version.key, member.version.content_hash), 0), []).append(member)
    for count, group in sorted(groups.items()):
        step = size if not count else min(size, SMALL) if count == 1 and max_retries > 2 else 1
        for begin in range(0, len(group), step):
            yield group[begin : begin + step]
