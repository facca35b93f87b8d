"""The names of what is called, and of types, as one dotted name whatever the language."""

from __future__ import annotations

import re
from typing import Any

from dobby_dagster.ingest.code.declaration import MAX_NAME

# Per node type the fields of the receiver and of the name; without such a field it is the first child.
_CALLS: dict[str, tuple[str, ...]] = {
    "call": ("receiver", "function", "method"),
    "call_expression": ("function",),
    "new_expression": ("constructor", "type"),
    "object_creation_expression": ("type",),
    "instance_expression": (),
    "invocation_expression": ("function",),
    "macro_invocation": ("macro",),
    "method_invocation": ("object", "name"),
    "function_call_expression": ("function",),
    "member_call_expression": ("object", "name"),
    "nullsafe_member_call_expression": ("object", "name"),
    "scoped_call_expression": ("scope", "name"),
    "jsx_opening_element": ("name",),
    "jsx_self_closing_element": ("name",),
    "command": ("name",),
}
CALLING = frozenset(_CALLS)  # types of nodes that call something
_GENERICS = re.compile(r"(?:::)?<[^<>()]*>")
_SEPARATOR = re.compile(r"\s*(?:\?\.|!!?\.|->|::|\\|\.)\s*")
_DOTTED = re.compile(r"[\w$]+[?!]?(?:\.[\w$#]+[?!]?)*")
_LAST = re.compile(r"\.([\w$]+[?!]?)$")
_MADE_HERE = re.compile(r"(?:new )?([\w$.]+)\([^()]*\)\.([\w$]+)")
_TYPE = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|\\)[A-Za-z_$][\w$]*)*")
_WRAPPED_TYPE = re.compile(
    r"^(?:[\s:&*?\"'\\]|(?:mut|const|dyn|impl|struct|final|readonly|typing\.)\b\.?|'\w+\s|Optional\[)+"
)


def callee(node: Any, data: bytes) -> str:
    """The dotted name of what the node calls; ``.name`` if only the last part is a name, empty if that is none."""
    fields = [child for name in _CALLS[node.type] if (child := node.child_by_field_name(name)) is not None]
    if not fields:
        first = next(iter(node.named_children), None) if node.named_child_count < MAX_NAME else None
        if first is None:
            return ""
        fields = [first]
    name = dotted(data, fields[0].start_byte, fields[-1].end_byte)
    if node.type.startswith("jsx_") and name[:1].islower() and "." not in name:
        return ""  # an element of HTML
    return name


def dotted(data: bytes, begin: int, end: int) -> str:
    r"""The text between two offsets as a dotted name.

    >>> dotted(b"self.store->rows", 0, 16), dotted(b"find(x).name", 0, 12), dotted(b"Find(x).name", 0, 12)
    ('self.store.rows', '.name', 'Find().name')
    """
    cut = end - begin > MAX_NAME
    text = data[max(begin, end - MAX_NAME) : end].decode("utf-8", "ignore")
    if "<" in text:
        text = _GENERICS.sub("", _GENERICS.sub("", text))
    text = _SEPARATOR.sub(".", text.strip()).replace("super().", "super.").lstrip(".")
    if text[:1] in "$@":
        text = ("self." if text.startswith("@") else "") + text.lstrip("$@")
    if not cut and _DOTTED.fullmatch(text):
        return text
    here = None if cut else _MADE_HERE.fullmatch(text)
    if here and (owner := made(here[1])):
        return f"{owner}().{here[2]}"
    last = _LAST.search(text)
    return f".{last[1]}" if last else ""


def type_name(text: str) -> str:
    """The dotted name of a type without what wraps it; empty if it has none.

    >>> type_name("Optional[store.Table]"), type_name("&mut Table<K>"), type_name("[int]")
    ('store.Table', 'Table', '')
    """
    found = _TYPE.match(_WRAPPED_TYPE.sub("", text))
    return _SEPARATOR.sub(".", found[0]) if found else ""


def made(called: str) -> str:
    """The class that a call makes an instance of, by the conventions of names; empty if it does not look so.

    >>> made("store.Table"), made("Table.open"), made("pkg.NewTable"), made("open")
    ('store.Table', 'Table', 'pkg.Table', '')
    """
    *owner, last = called.split(".")
    bare = last.lstrip("_")
    if bare.startswith("New") and bare[3:4].isupper():
        return ".".join([*owner, last.removeprefix("New")])
    if bare[:1].isupper():
        return called.lstrip(".")
    if owner and owner[-1].lstrip("_")[:1].isupper():
        return ".".join(owner)
    return ""
