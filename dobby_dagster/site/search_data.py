"""The search data: scripts that hand their rows to the site's own script, since a page from a file can't fetch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from dobby_dagster.domain.printable import printable, shortened
from dobby_dagster.site.entry import Entry, Level
from dobby_dagster.site.page_views import Target
from dobby_dagster.site.site_statistics import target_of

SHARDS = "assets/search/shards.js"
ROWS_PER_SHARD = 2_000
_NAME, _SUMMARY = 120, 300


def search_scripts(entries: Sequence[Entry], targets: Mapping[str, Target]) -> dict[str, str]:
    """The scripts by their path, :data:`SHARDS` among them, which names the others.

    A record's shard is decided by the page that it is on, so that a change of one record changes one shard.
    """
    count = 1
    while count * ROWS_PER_SHARD < len(entries):
        count *= 2
    shards: list[dict[str, list[list[Any]]]] = [{} for _ in range(count)]
    for entry in entries:
        target = target_of(entry, targets)
        shard = int.from_bytes(sha256(target.path.encode()).digest()[:4]) % count
        shards[shard].setdefault(target.path, []).append(_row(entry, target))
    names = [f"{number:02d}.js" for number in range(count)]
    scripts = {
        f"assets/search/{name}": f"dobbySite.add({_literal(list(shard.items()))});\n"
        for name, shard in zip(names, shards, strict=True)
    }
    return scripts | {SHARDS: f"dobbySite.load({_literal(names)});\n"}


def _row(entry: Entry, target: Target) -> list[Any]:
    return [
        shortened(printable(entry.label), _NAME),
        shortened(printable(entry.summary or ""), _SUMMARY),
        entry.kind,
        list(Level).index(entry.level),
        target.anchor,
        shortened(printable("/".join(entry.place)), _NAME),
    ]


def _literal(value: Any) -> str:
    """``value`` as a script's string of JSON, which is parsed faster than a literal: ASCII, and no ``</script>``."""
    text = json.dumps(json.dumps(value, ensure_ascii=True, separators=(",", ":")), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
