"""The files of a source tree as the code graph sees them: their parts, and what these refer to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dobby_dagster.ingest.code.references import NOTHING, References

_NUMBER = re.compile(r"#\d+$")


@dataclass(frozen=True, slots=True)
class CodePart:
    """A record of a file.

    Attributes:
        key: The record's.
        name: Qualified in the file, without the number of one of several with that name; empty for the whole file.
        kind: As the piece's.
        references: What it refers to.
    """

    key: str
    name: str
    kind: str
    references: References = NOTHING


@dataclass(slots=True)
class CodeFile:
    """A file.

    Attributes:
        place: As in keys.
        language: Of its records; empty if it has none.
        parts: Its records.
        references: What it refers to outside of its parts, and what it imports.
    """

    place: str
    language: str = ""
    parts: list[CodePart] = field(default_factory=list)
    references: References = NOTHING

    def add(self, part: CodePart, language: str, of_file: References) -> None:
        """Add a record; the first one of the file says what the file itself refers to."""
        self.parts.append(part)
        self.language = self.language or language
        self.references = self.references if of_file is NOTHING else of_file

    def run_parts(self) -> list[CodePart]:
        """The parts without those that only a type checker reads; of a name with none but such, the last."""
        run = {bare(part.name) for part in self.parts if not part.references.stub}
        last = {bare(part.name): part.key for part in self.parts if part.references.stub}
        return [
            part
            for part in self.parts
            if not part.references.stub or (bare(part.name) not in run and last[bare(part.name)] == part.key)
        ]

    @property
    def folder(self) -> str:
        """The place of the folder that it is in; empty for a tree of one file."""
        return self.place.rpartition("/")[0]


def bare(name: str) -> str:
    """``name`` without the number of one of several with that name.

    >>> bare("Table.find#2"), bare("operator #")
    ('Table.find', 'operator #')
    """
    return _NUMBER.sub("", name)


def names_of(name: str) -> list[str]:
    """The parts of a qualified name.

    >>> names_of("Table.find"), names_of("store::Table::find")
    (['Table', 'find'], ['store', 'Table', 'find'])
    """
    return name.replace("::", ".").split(".")
