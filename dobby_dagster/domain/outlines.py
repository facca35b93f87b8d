"""Files and packages of ingested source trees, and how they contain each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# What the content of a package begins with, before its name.
PACKAGE_HEADING = "# Package "


class OutlineKind(StrEnum):
    """A file without parts is a text; of all others the content is derived from their parts."""

    FILE = "file"
    PACKAGE = "package"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Outline:
    """A file or folder of an ingested source tree.

    Attributes:
        key: Its place in the tree, which is the key of its record: ``tree/folder/file.py``.
        parent: The folder that contains it; empty for the tree itself.
        kind: What it is.
        language: That of most of its parts.
        documentation: What it says of itself: a module's docstring, the beginning of a README; empty if nothing.
        digest: SHA-256 (hex) of its parts as the ingestion found them: of another one it is derived again.
    """

    key: str
    parent: str
    kind: OutlineKind
    language: str
    documentation: str
    digest: str

    @property
    def is_derived(self) -> bool:
        """Whether its content is derived from its parts."""
        return self.kind is not OutlineKind.TEXT

    @property
    def name(self) -> str:
        """The last part of its key; a package's with a slash."""
        own = self.key.removeprefix(f"{self.parent}/") if self.parent else self.key
        return f"{own}/" if self.kind is OutlineKind.PACKAGE else own
