"""Front matter, the metadata at the top of a Markdown file: YAML between ``---``, or TOML between ``+++``."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

MAX_CHARACTERS = 16_000
MAX_DEPTH = 20
_BLOCK = re.compile(r"(---|\+\+\+)[ \t]*\n(.*?\n)?(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)


def front_matter(text: str) -> tuple[dict[str, Any], int]:
    r"""The front matter of ``text`` as values of JSON, and how many lines it takes; ``({}, 0)`` if there is none.

    Scalars of YAML stay strings. Front matter that is not a mapping, is longer than ``MAX_CHARACTERS``, is deeply
    nested or has YAML aliases, which can expand without bound, counts as content.

    >>> front_matter("---\ntitle: Notes\n---\nText")
    ({'title': 'Notes'}, 3)
    """
    found = _BLOCK.match(text[: MAX_CHARACTERS + 10])
    if found is None:
        return {}, 0
    written = found[2] or ""
    values = _yaml(written) if found[1] == "---" else _toml(written)
    return (values, found[0].count("\n")) if isinstance(values, dict) and values else ({}, 0)


def _yaml(written: str) -> Any:
    import yaml

    try:
        depth = 0
        for event in yaml.parse(written, Loader=yaml.BaseLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > MAX_DEPTH:
                return None
        return _plain(yaml.load(written, Loader=yaml.BaseLoader))  # noqa: S506 it creates only strings, lists and mappings
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        return None


def _toml(written: str) -> Any:
    try:
        return _plain(tomllib.loads(written))
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return None


def _plain(values: Any) -> Any:
    """``values`` as JSON: dates and infinite numbers become strings, lone surrogates question marks."""
    text = json.dumps(values, default=str, ensure_ascii=False).encode("utf-8", "replace").decode()
    return json.loads(text, parse_constant=str)
