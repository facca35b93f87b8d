"""Collects what each part of a file refers to, during the one walk through its syntax tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dobby_dagster.ingest.code.bindings import BINDING, bound
from dobby_dagster.ingest.code.callees import CALLING, callee
from dobby_dagster.ingest.code.imports import IMPORTING, imported
from dobby_dagster.ingest.code.references import (
    MAX_BASES,
    MAX_CALLS,
    MAX_FIELDS,
    MAX_IMPORTS,
    MAX_REFERENCES,
    Import,
    References,
)

OF_FILE = -1
_NOTED = BINDING | CALLING | IMPORTING
# In these languages a method sees the fields of its class by their bare names.
IMPLICIT_THIS = {"java", "cpp", "csharp", "kotlin", "swift", "scala"}
SELF = {"self", "this", "cls", "Self", "static"}
_BASES = {
    "argument_list", "class_heritage", "superclass", "super_interfaces", "extends_interfaces", "base_class_clause",
    "base_list", "base_clause", "class_interface_clause", "delegation_specifier", "inheritance_specifier",
    "extends_clause", "extends_type_clause",
}  # fmt: skip
_BASE = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|\\)[A-Za-z_$][\w$]*)*")
_NO_BASE = re.compile(
    r"\b\w++\s*+=\s*+[\w.]++|<[^<>]*>|\[[^\[\]]*\]|\b(?:extends|implements|public|private|protected|virtual|with)\b"
)
_MAX_TEXT, _FEW = 1_000, 20


@dataclass
class ReferenceNotes:
    """What was found so far; a part is named by its index, the file outside of its parts by ``OF_FILE``.

    Attributes:
        language: Of the file.
        data: Its text, UTF-8.
        parents: The enclosing part of each part.
        classes: Which parts are classes.
        stubs: The parts that only a type checker reads.
    """

    language: str
    data: bytes
    parents: list[int] = field(default_factory=list)
    classes: list[bool] = field(default_factory=list)
    stubs: set[int] = field(default_factory=set)
    _calls: dict[int, dict[str, None]] = field(default_factory=dict)
    _bound: dict[int, dict[str, str]] = field(default_factory=dict)
    _fields: dict[int, dict[str, str]] = field(default_factory=dict)
    _bases: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _imports: dict[Import, None] = field(default_factory=dict)
    _left: int = MAX_REFERENCES

    def enter(self, node: Any, parent: int, *, is_class: bool, stub: bool) -> None:
        """Note the next part, which ``node`` declares in the part ``parent``."""
        if stub:
            self.stubs.add(len(self.parents))
        self.parents.append(parent)
        self.classes.append(is_class)
        if is_class:
            self._bases[len(self.parents) - 1] = self._bases_of(node)

    def add(self, node: Any, part: int, *, declares: bool) -> None:
        """Note what one node in ``part`` refers to or binds.

        Args:
            node: Of the syntax tree; each is given once, in the order of the text.
            part: The innermost part that it is in.
            declares: It is itself a function or class, and so binds no variable.
        """
        kind = node.type
        if kind not in _NOTED or self._left <= 0:
            return
        if kind in IMPORTING:
            before = len(self._imports)
            for found in imported(self.language, node, self.data):
                if len(self._imports) < MAX_IMPORTS:
                    self._imports[found] = None
            if len(self._imports) > before:
                return
        if kind in CALLING:
            calls = self._calls.setdefault(part, {})
            name = callee(node, self.data)
            if name and name not in calls and len(calls) < MAX_CALLS:
                calls[name] = None
                self._left -= 1
        if kind in BINDING and not declares:
            for name, typed, other in bound(node, self.data):
                self._bind(part, name, typed or self._type_of(part, other))

    def of(self, part: int) -> References:
        """What ``part`` refers to."""
        calls = dict.fromkeys(call for name in self._calls.get(part, ()) if (call := self._localized(name, part)))
        imports = tuple(self._imports) if part == OF_FILE else ()
        fields = tuple(self._fields.get(part, {}).items())
        return References(tuple(calls), self._bases.get(part, ()), fields, imports, part in self.stubs)

    def _bind(self, part: int, name: str, typed: str) -> None:
        owner = self._class_of(part)
        if name.startswith("self."):
            name = name.removeprefix("self.")
            if owner == OF_FILE or not typed:
                return
            names = self._fields.setdefault(owner, {})
        elif part != OF_FILE and self.classes[part]:
            names = self._fields.setdefault(part, {})
        else:
            names = self._bound.setdefault(part, {})
        if len(names) < MAX_FIELDS and not names.get(name):
            names[name] = typed
            self._left -= 1

    def _class_of(self, part: int) -> int:
        return next((at for at in self._around(part) if at != OF_FILE and self.classes[at]), OF_FILE)

    def _around(self, part: int) -> Iterator[int]:
        """The part, what encloses it, and the file; at most a few."""
        for _ in range(_FEW):
            yield part
            if part == OF_FILE:
                return
            part = self.parents[part]

    def _type_of(self, part: int, name: str) -> str:
        return next((t for at in self._around(part) if (t := self._bound.get(at, {}).get(name))), "") if name else ""

    def _localized(self, call: str, part: int) -> str:
        """``call`` with the type in place of a variable; empty if a variable is called."""
        head, _, rest = call.partition(".")
        if not head or head in SELF:
            return call
        for at in self._around(part):
            is_class = at != OF_FILE and self.classes[at]
            if is_class and self.language in IMPLICIT_THIS and rest and head in self._fields.get(at, {}):
                return f"self.{call}"
            if not is_class and head in (names := self._bound.get(at, {})):
                if not rest:
                    return ""
                return f"{names[head]}().{rest}" if names[head] else f".{rest.rpartition('.')[2]}"
        return call

    def _bases_of(self, node: Any) -> tuple[str, ...]:
        if node.named_child_count > 200:
            return ()
        found: dict[str, None] = {}
        for child in node.named_children:
            if child.type in _BASES and (child.type != "argument_list" or self.language == "python"):
                written = self.data[child.start_byte : min(child.end_byte, child.start_byte + _MAX_TEXT)]
                text = _NO_BASE.sub(" ", written.decode("utf-8", "ignore"))
                found |= dict.fromkeys(re.sub(r"::|\\", ".", name) for name in _BASE.findall(text) if len(name) < 200)
        return tuple(found)[:MAX_BASES]
