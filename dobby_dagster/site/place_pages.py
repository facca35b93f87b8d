"""The pages of all places, out of the tree of records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dobby_dagster.site.code_references import Reference, References
from dobby_dagster.site.entry import Entry, Level
from dobby_dagster.site.page_names import anchor, page_path
from dobby_dagster.site.page_views import LevelCounts, Link, Links, PartView, PlacePage, PlaceRow, Target
from dobby_dagster.site.record_tree import Node

# Files, folders and records on one page; the rest is on further pages.
PER_PAGE = 250
# Names of what is in a file that has no summary of its own.
NAMED = 6
# Callers or callees of one record.
MOST_REFERENCES = 40


def targets_of(root: Node) -> dict[str, Target]:
    """Where each record and each place of the tree is shown, by its key or its path."""
    found: dict[str, Target] = {}
    for node in root.walk():
        found["/".join(node.segments)] = Target(page_path(node.page))
        for at, entry in enumerate(node.parts, len(node.children)):
            path = page_path(node.page, 1 + at // PER_PAGE)
            found[entry.key] = Target(path, anchor(node.segments, entry.key))
    return found


def place_pages(
    root: Node, targets: Mapping[str, Target], references: Mapping[str, References], home: str
) -> Iterator[PlacePage]:
    """The pages of every place.

    Args:
        root: Of the tree.
        targets: Of :func:`targets_of`.
        references: Of :func:`~dobby_dagster.site.code_references.code_references`.
        home: The heading of the first page.
    """
    waiting: list[tuple[Node, tuple[tuple[str, Node], ...]]] = [(root, ((home, root),))]
    while waiting:
        node, way = waiting.pop()
        waiting.extend((child, (*way, (name, child))) for name, child in node.children.items())
        yield from _pages_of(node, way, targets, references)


def _pages_of(
    node: Node,
    way: tuple[tuple[str, Node], ...],
    targets: Mapping[str, Target],
    references: Mapping[str, References],
) -> Iterator[PlacePage]:
    children, parts = list(node.children.items()), node.parts
    pages = max(1, -(-(len(children) + len(parts)) // PER_PAGE))
    for number in range(1, pages + 1):
        path = page_path(node.page, number)
        begin, end = (number - 1) * PER_PAGE, number * PER_PAGE
        shown = parts[max(0, begin - len(children)) : max(0, end - len(children))]
        own = node.own if number == 1 else []
        place = "/".join(node.segments)
        names = {entry.name for entry in shown}
        told = [entry for entry in (*own, *shown) if entry.created_at is not None]
        yield PlacePage(
            path=path,
            heading=way[-1][0],
            crumbs=tuple(Link(name, _to(above, path)) for name, above in way[:-1]),
            own=tuple(own),
            rows=tuple(_row(name, child, path) for name, child in children[begin:end]),
            parts=tuple(_part(entry, node, names, path, targets, references) for entry in shown),
            counts=_counts(node),
            references=_references(place, path, targets, references) if number == 1 else (),
            number=number,
            pages=pages,
            pager=tuple(_pager(node, number, pages, path)),
            makers=tuple(sorted({f"{entry.model}, prompt {entry.prompt}" for entry in told})),
            latest=max((entry.created_at or 0.0 for entry in told), default=None),
        )


def _to(node: Node, path: str, number: int = 1) -> str:
    return Target(page_path(node.page, number)).seen_from(path)


def _pager(node: Node, number: int, pages: int, path: str) -> Iterator[Link]:
    if number > 1:
        yield Link(f"Page {number - 1}", _to(node, path, number - 1), "prev")
    if number < pages:
        yield Link(f"Page {number + 1}", _to(node, path, number + 1), "next")


def _row(name: str, child: Node, path: str) -> PlaceRow:
    own = child.own[0] if child.own else None
    summary = own.summary if own else None
    return PlaceRow(
        link=Link(name, _to(child, path)),
        is_folder=bool(child.children),
        summary=summary,
        level=own.level if own else Level.NONE,
        names=() if summary else tuple(_names_in(child)),
        counts=_counts(child),
    )


def _names_in(node: Node) -> list[str]:
    """The first names in a place; those of methods and the like are left out."""
    outer = {entry.name for entry in node.parts if entry.name}
    names = [entry.label for entry in node.parts if entry.name.rpartition(".")[0] not in outer]
    return [*node.children, *names][:NAMED]


def _counts(node: Node) -> LevelCounts:
    return tuple((level, node.levels[level]) for level in Level if node.levels[level])


def _part(
    entry: Entry,
    node: Node,
    names: set[str],
    path: str,
    targets: Mapping[str, Target],
    references: Mapping[str, References],
) -> PartView:
    return PartView(
        entry=entry,
        anchor=anchor(node.segments, entry.key),
        depth=1 if entry.name.rpartition(".")[0] in names - {""} else 0,
        references=_references(entry.key, path, targets, references),
    )


def _references(
    key: str, path: str, targets: Mapping[str, Target], references: Mapping[str, References]
) -> tuple[Links, ...]:
    return tuple(
        Links(
            heading,
            tuple(_link(reference, path, targets) for reference in found[:MOST_REFERENCES]),
            max(0, len(found) - MOST_REFERENCES),
        )
        for heading, found in references.get(key, ())
    )


def _link(reference: Reference, path: str, targets: Mapping[str, Target]) -> Link:
    target = targets.get(reference.key)
    return Link(_short(reference.key), target.seen_from(path) if target else "", _certainty(reference))


def _short(key: str) -> str:
    return key.rpartition("::")[2] or key


def _certainty(reference: Reference) -> str:
    return "" if reference.certainty >= 0.995 else f"{100 * reference.certainty:.0f} % certain"
