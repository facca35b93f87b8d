"""The search data: scripts that hand their rows to the site's own script, since a page from a file can't fetch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from dobby_dagster.domain.printable import printable, shortened
from dobby_dagster.site.entry import Entry, Level
from dobby_dagster.site.page_views import Target
from dobby_dagster.site.record_tree import Node
from dobby_dagster.site.site_statistics import target_of

SHARDS = "assets/search/shards.js"
ROWS_PER_SHARD = 2_000
_NAME, _SUMMARY = 120, 300
_LEVELS = list(Level)


def search_scripts(entries: Sequence[Entry], root: Node, targets: Mapping[str, Target]) -> dict[str, str]:
    """The scripts by their path, :data:`SHARDS` among them, which names the others.

    A record's shard is decided by the page that it is on, so that a change of one record changes one shard. Files and
    folders without a record are found by their name.

    Args:
        entries: All records.
        root: Of their tree.
        targets: Where they are shown.
    """
    count = 1
    while count * ROWS_PER_SHARD < len(entries):
        count *= 2
    shards: list[dict[str, list[list[Any]]]] = [{} for _ in range(count)]
    named = [(target, _row(entry, target)) for entry in entries for target in [target_of(entry, targets)]]
    places = [(targets["/".join(node.segments)], _place_row(node)) for node in root.walk() if _is_nameless(node)]
    for target, row in (*named, *places):
        shard = int.from_bytes(sha256(target.path.encode()).digest()[:4]) % count
        shards[shard].setdefault(target.path, []).append(row)
    names = [f"{number:02d}.js" for number in range(count)]
    scripts = {
        f"assets/search/{name}": f"dobbySite.add({_literal(list(shard.items()))});\n"
        for name, shard in zip(names, shards, strict=True)
    }
    return scripts | {SHARDS: f"dobbySite.load({_literal(names)});\n"}


def _row(entry: Entry, target: Target) -> list[Any]:
    """Name, summary, kind, level by its number, anchor and place, as the site's script reads them."""
    return [
        _text(entry.label, _NAME),
        _text(entry.summary or "", _SUMMARY),
        _text(entry.kind, _NAME),
        _LEVELS.index(entry.level),
        target.anchor,
        _text("/".join(entry.place), _NAME),
    ]


def _place_row(node: Node) -> list[Any]:
    kind = "folder" if node.children else "file"
    return [
        _text(node.segments[-1], _NAME), "", kind, _LEVELS.index(Level.NONE), "", _text("/".join(node.segments), _NAME)
    ]  # fmt: skip


def _is_nameless(node: Node) -> bool:
    """Whether ``node`` is a place below the first page that no record stands for."""
    return not node.own and not node.is_root


def _text(text: str, length: int) -> str:
    return shortened(printable(text), length)


def _literal(value: Any) -> str:
    """``value`` as a script's string of JSON, which is parsed faster than a literal: ASCII, and no ``</script>``."""
    text = json.dumps(json.dumps(value, ensure_ascii=True, separators=(",", ":")), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
