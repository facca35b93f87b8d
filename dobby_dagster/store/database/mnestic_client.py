"""A pycozo client of mnestic, the maintained fork of CozoDB."""

from __future__ import annotations

import re
from typing import Any

from mnestic import CozoDbPy
from pycozo.client import Client

# mnestic (0.14 to 0.18 at least) reads `true` and `false` before white space as false: the space is part of the literal.
_BOOLEAN = re.compile(r"\b(true|false)(?=\s)")
# It binds what is equal to a constant before it joins, and then copies the whole relation to join by it as well.
_CONSTANT = r"'[^']*'|\$\w+|\(?\b(?:true|false)\b\)?|null|-?\d+"
_EQUAL = re.compile(rf"((?:,|:=|&&|\|\||\()\s*)(\w+) == ({_CONSTANT})(?=\s*(?:,|\)|&&|\|\||:|\}}|\n|$))")


# Strings, raw ones too, and comments: nothing in them is a literal.
_TEXT = re.compile(r"""(?P<raw>_+)".*?"(?P=raw)|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\#[^\n]*|/\*.*?\*/""", re.DOTALL)
_PLACE = re.compile(r"'\0(\d+)'")


def rewritten(script: str) -> str:
    """``script`` as mnestic has to be given it; the strings in it stay as they are.

    >>> rewritten("?[k] := *r{k, deleted, recipe}, recipe == $recipe, deleted = true :limit 1")
    '?[k] := *r{k, deleted, recipe}, !(recipe != $recipe), deleted = (true) :limit 1'
    >>> rewritten("?[x] := x = 'it is true that' :limit 1")
    "?[x] := x = 'it is true that' :limit 1"
    """
    texts: list[str] = []

    def taken_out(found: re.Match[str]) -> str:
        texts.append(found[0])
        return f"'\0{len(texts) - 1}'"

    changed = _EQUAL.sub(r"\1!(\2 != \3)", _BOOLEAN.sub(r"(\1)", _TEXT.sub(taken_out, script)))
    return _PLACE.sub(lambda place: texts[int(place[1])], changed)


class MnesticClient(Client):  # type: ignore[misc]  # pycozo has no types
    """What pycozo's client does, by mnestic.

    Args:
        engine: ``sqlite``, ``rocksdb`` or ``mem``.
        path: The file or folder; empty for ``mem``.
        query_seconds: The longest time of a query.
    """

    def __init__(self, engine: str, path: str, query_seconds: float) -> None:
        self.pandas = None
        self.embedded = CozoDbPy(engine, path, "{}")
        self.embedded.set_default_query_timeout(query_seconds)
        # RocksDB's log is written to the disk at each commit; the end of CozoDB's may be lost with the power.
        self.embedded.set_durable_writes(True)

    def run(self, script: str, params: Any = None, immutable: bool = False) -> Any:
        """Run ``script`` as :func:`rewritten`."""
        return super().run(rewritten(script), params, immutable)
