"""The documented functions among a database's records, and which of them are learned, and which held out."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.record_key import split_key
from dobby_dagster.domain.records import Record, readable_text
from dobby_dagster.ingest.documentation.documented_code import DocumentedCode, documented_code

# Percent of the files: those whose loss ends the training, and those on which both models are compared.
STOPPING, JUDGED = 10, 25
LEAST_LEARNED, LEAST_STOPPING, LEAST_JUDGED = 60, 8, 30
# More would take longer than it tells.
MOST_STOPPING, MOST_JUDGED = 60, 400
# So that no stock sentence is more than a small part of what is learned.
MOST_OF_A_SENTENCE = 15
# Longer contents are not parsed: what can be learned of them is at their beginning only.
MAX_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True)
class DocumentedRecord:
    """A record with documentation.

    Attributes:
        key: The record's.
        file: That it stands in; records of one file are learned together, or held out together.
        language: Of the content.
        parts: The code without the documentation, and its first sentence.
    """

    key: str
    file: str
    language: str
    parts: DocumentedCode


@dataclass(frozen=True, slots=True)
class Split:
    """The documented records by what they are for, each in the order of keys.

    Attributes:
        learned: To train on.
        stopping: The loss on them ends the training.
        judged: Both models are compared on them.
    """

    learned: Sequence[DocumentedRecord]
    stopping: Sequence[DocumentedRecord]
    judged: Sequence[DocumentedRecord]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all keys, contents and sentences, by part."""
        total = hashlib.sha256()
        for part in (self.learned, self.stopping, self.judged):
            for one in part:
                text = f"{one.key}\0{one.language}\0{one.parts.documented}\0{one.parts.sentence}\0"
                total.update(text.encode("utf-8", "surrogatepass"))
            total.update(b"\1")
        return total.hexdigest()

    def require_enough(self) -> None:
        """Refuse a project that has too few documented functions to learn from, or to tell whether it helped.

        Raises:
            SourceError: Names how many there are, and how many are needed.
        """
        parts = (
            (self.learned, LEAST_LEARNED, "to learn"),
            (self.stopping, LEAST_STOPPING, "to end the training"),
            (self.judged, LEAST_JUDGED, "to compare"),
        )
        if all(len(part) >= least for part, least, _ in parts):
            return
        total = sum(len(part) for part, _, _ in parts)
        there = ", ".join(f"{len(part)} {use} (at least {least})" for part, least, use in parts)
        raise SourceError(
            f"{counted(total, 'documented function')} can't adapt a model; by their files they are {there}",
            hint="ingest more of the project; nothing was changed",
        )


def documented_records(records: Iterable[Record]) -> list[DocumentedRecord]:
    """Functions, methods and classes whose documentation has a first sentence of use, without duplicates.

    Contents that are derived, such as outlines of files, are left out.
    """
    found: list[DocumentedRecord] = []
    sentences: Counter[str] = Counter()
    seen: set[str] = set()
    for record in records:
        one = _documented(record)
        if one is None or one.parts.code in seen or sentences[one.parts.sentence] >= MOST_OF_A_SENTENCE:
            continue
        seen.add(one.parts.code)
        sentences[one.parts.sentence] += 1
        found.append(one)
    return found


def _documented(record: Record) -> DocumentedRecord | None:
    if record.kind not in ("text", "binary") or record.metadata.get("derived") or record.content_type == "section":
        return None
    content = readable_text(record.content)
    if content is None or len(content) > MAX_CHARACTERS:
        return None
    path, name = split_key(record.key, record.metadata.get("path"))
    parts = documented_code(content, record.language, name)
    return None if parts is None else DocumentedRecord(record.key, path, record.language, parts)


def split(records: Sequence[DocumentedRecord], seed: int) -> Split:
    """Split by file: a file is always in the same part, whatever else the project has.

    Args:
        records: In the order of their keys.
        seed: Decides which are taken where there are more than ``MOST_STOPPING`` or ``MOST_JUDGED``.
    """
    parts: dict[str, list[DocumentedRecord]] = {"learned": [], "stopping": [], "judged": []}
    for one in records:
        parts[part_of(one.file)].append(one)
    stopping, judged = _some(parts["stopping"], MOST_STOPPING, seed), _some(parts["judged"], MOST_JUDGED, seed)
    return Split(parts["learned"], stopping, judged)


def part_of(file: str) -> str:
    """``learned``, ``stopping`` or ``judged``, by the SHA-256 of the file's name."""
    place = int(hashlib.sha256(file.encode("utf-8", "surrogatepass")).hexdigest()[:8], 16) % 100
    return "judged" if place < JUDGED else "stopping" if place < JUDGED + STOPPING else "learned"


def _some(records: Sequence[DocumentedRecord], most: int, seed: int) -> list[DocumentedRecord]:
    if len(records) <= most:
        return list(records)
    return [records[index] for index in sorted(random.Random(seed).sample(range(len(records)), most))]
