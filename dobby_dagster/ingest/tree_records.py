"""The records of a source tree as it is now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from dobby_dagster.domain.records import Record
from dobby_dagster.ingest.documents.own_documentation import own_documentation
from dobby_dagster.ingest.graph.code_files import CodeFile, CodePart
from dobby_dagster.ingest.piece import UnreadableError
from dobby_dagster.ingest.regular_files import NotReadError
from dobby_dagster.ingest.source_files import display, text_of, walk
from dobby_dagster.ingest.splitter_process import Splitter


@dataclass
class SourceTree:
    """A path whose files are read into records.

    Attributes:
        path: A file or folder: what is read.
        origin: The source of its records: the real path of the tree.
        prefix: The first part of its keys: the name of the tree.
        keys: The keys found so far, with their files.
        unread: Keys of files and folders that could not be read this time; their stored records are kept.
        files: How many files were read.
        left_out: Files and folders that were not read, with the reason.
        documentation: What the files say of themselves, by their places, where they say something.
        code: What was found in each file that was read, for the code graph.
    """

    path: Path
    origin: str
    prefix: str
    keys: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    files: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    documentation: dict[str, str] = field(default_factory=dict)
    code: list[CodeFile] = field(default_factory=list)

    def records(
        self,
        exclude: Sequence[str] = (),
        on_file: Callable[[Path], None] = lambda path: None,
        parts: Sequence[Path] = (),
    ) -> Iterator[Record]:
        """One record for each piece of each file, in a fixed order.

        Args:
            exclude: Glob patterns; a file whose path below :attr:`path` matches one is left out.
            on_file: Called with each file that is read.
            parts: Read only these files and folders, which begin with :attr:`path`; by default all.

        Raises:
            SourceError: The path can't be read.
        """
        named, above = set(parts), {folder for part in parts for folder in part.parents}
        with Splitter() as splitter:
            for found in walk(self.path, exclude):
                if named and found.path not in above and named.isdisjoint((found.path, *found.path.parents)):
                    continue
                if found.reason:
                    self.left_out[display(found.path)] = found.reason
                    if found.transient:
                        self.unread.append(self.place(found.path))
                    continue
                on_file(found.path)
                yield from self._pieces(splitter, found.path)

    def _pieces(self, splitter: Splitter, path: Path) -> Iterator[Record]:
        place = self.place(path)
        try:
            text = text_of(path)
            pieces = splitter.pieces(path, text)
        except (NotReadError, UnreadableError) as error:
            self.left_out[display(path)] = str(error)
            if isinstance(error, NotReadError) and error.transient:
                self.unread.append(place)
            return
        self.files += 1
        if about_itself := own_documentation(path, text):
            self.documentation[place] = about_itself
        code = CodeFile(place)
        self.code.append(code)
        for piece in pieces:
            key = self._new_key(f"{place}::{piece.name}" if piece.name else place, place)
            code.add(CodePart(key, piece.name, piece.kind, piece.references), piece.language, piece.of_file)
            about = {"front_matter": dict(piece.metadata)} if piece.metadata else {}
            metadata = {"path": place, "line": piece.line, "name": piece.name, **about}
            yield Record(key, piece.content, self.origin, piece.kind, piece.language, metadata=metadata)

    def place(self, path: Path) -> str:
        """``path``, which begins with :attr:`path`, as in keys."""
        below = display(path.relative_to(self.path))
        return self.prefix if below == "." else f"{self.prefix}/{below}"

    def _new_key(self, key: str, place: str) -> str:
        """``key`` of a record in ``place``, made unique by a number."""
        unique = next(k for n in count(1) if (k := key if n == 1 else f"{key}#{n}") not in self.keys)
        self.keys[unique] = place
        return unique
