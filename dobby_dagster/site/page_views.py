"""What each page shows, as values: a page is written again where its value has changed."""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import relpath

from dobby_dagster.site.entry import Entry, Level

LevelCounts = tuple[tuple[Level, int], ...]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a record or place is shown: the file, relative to the site's folder, and the anchor in it."""

    path: str
    anchor: str = ""

    def seen_from(self, path: str) -> str:
        """The address of it in the page ``path``; it never begins with a scheme."""
        way = "" if path == self.path and self.anchor else relpath(self.path, path.rpartition("/")[0] or ".")
        return f"{way}#{self.anchor}" if self.anchor else way


@dataclass(frozen=True, slots=True)
class Link:
    """An address with its text; ``note`` says more, and the address is empty of what has no page."""

    label: str
    address: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    """Links of one kind, and how many more there are."""

    heading: str
    links: tuple[Link, ...]
    more: int


@dataclass(frozen=True, slots=True)
class PartView:
    """One record on a page."""

    entry: Entry
    anchor: str
    depth: int
    references: tuple[Links, ...]


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """A file or folder in the list of the folder above.

    Attributes:
        is_folder: Whether there are places in it.
        summary: Of the record that stands for it, else None.
        level: Of that summary.
        names: Of what is in it, where there is no summary.
    """

    link: Link
    is_folder: bool
    summary: str | None
    level: Level
    names: tuple[str, ...]
    counts: LevelCounts


@dataclass(frozen=True, slots=True)
class PlacePage:
    """The page, or one of several pages, of a file or folder.

    Attributes:
        path: Its file, relative to the site's folder.
        references: Of the place itself: what it imports.
        number, pages: Which one of how many.
        pager: Links to the page before and after it.
        makers: Models and prompts of the summaries on it.
        latest: When the newest of them was made; None where there is none.
    """

    path: str
    heading: str
    crumbs: tuple[Link, ...]
    own: tuple[Entry, ...]
    rows: tuple[PlaceRow, ...]
    parts: tuple[PartView, ...]
    counts: LevelCounts
    references: tuple[Links, ...]
    number: int
    pages: int
    pager: tuple[Link, ...]
    makers: tuple[str, ...]
    latest: float | None
