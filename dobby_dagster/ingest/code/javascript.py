"""Functions, classes and objects that JavaScript and TypeScript declare by assignment."""

from __future__ import annotations

import re
from typing import Any

from dobby_dagster.ingest.code.declaration import Declaration, cut, text_of

_FUNCTIONS = ("arrow_function", "function_expression", "generator_function")
_VALUES = {
    "variable_declarator": ("name", "value"),
    "assignment_expression": ("left", "right"),
    "pair": ("key", "value"),
    "field_definition": ("property", "value"),
    "public_field_definition": ("name", "value"),
    "export_statement": ("", "value"),
}
_MEMBERS = ("pair", "field_definition", "public_field_definition")
_WRAPPING = ("parenthesized_expression", "as_expression", "satisfies_expression", "non_null_expression")
# `memo(…)`, `React.memo(…)`, `_.debounce(…)`; not `list.map(…)`.
_WRAPPER = re.compile(r"(?:(?:_|[A-Z]\w*)\.)?[A-Za-z_$][\w$]*")
# These call the function, and do not return it.
_CALLERS = {"setTimeout", "setInterval", "setImmediate", "requestAnimationFrame", "queueMicrotask", "useMemo"}
_MAX_WRAPPED = 4


def declaration(node: Any, data: bytes, *, in_function: bool) -> Declaration | None:
    """The function, class or object that is assigned, exported or made a property here; None for anything else."""
    if node.type not in _VALUES:
        return None
    to, by = _VALUES[node.type]
    value = _unwrapped(node.child_by_field_name(by), data, in_function=in_function)
    if value is None:
        return None
    target = node.child_by_field_name(to) if to else None
    name = _target(target, data) if target is not None else ""
    if value.type == "object":
        return Declaration("scope", "" if name == "module.exports" else name.removesuffix(".prototype"), method=True)
    own = value.child_by_field_name("name")
    if node.type == "export_statement":
        name = text_of(own, data) if own is not None else "default"
    elif name == "module.exports" and own is not None:
        name = text_of(own, data)
    if not name:
        return None
    method = node.type in _MEMBERS or ".prototype." in name or data.startswith(b"this.", node.start_byte)
    kind = "function" if value.type in _FUNCTIONS else "class"
    return Declaration(kind, name.replace(".prototype.", "."), value.child_by_field_name("body"), method=method)


def _unwrapped(value: Any, data: bytes, *, in_function: bool) -> Any:
    """The function, class or object in ``value``, also within ``memo(forwardRef(…))``; None for anything else."""
    for _ in range(_MAX_WRAPPED):
        if value is None or value.type in (*_FUNCTIONS, "class", "object"):
            return value
        if value.type in _WRAPPING:
            value = next(iter(value.named_children), None)
        elif value.type == "call_expression" and _wraps(value, data, in_function=in_function):
            value = _first_argument(value)
        else:
            return None
    return None


def _wraps(call: Any, data: bytes, *, in_function: bool) -> bool:
    """Whether the call wraps its first argument into a function; within functions, only ``useCallback`` counts."""
    name = text_of(call.child_by_field_name("function"), data)
    if in_function:
        return name.removeprefix("React.") == "useCallback"
    return _WRAPPER.fullmatch(name) is not None and name not in _CALLERS


def _first_argument(call: Any) -> Any:
    arguments = call.child_by_field_name("arguments")
    return next((child for child in arguments.named_children if child.type != "comment"), None) if arguments else None


def _target(target: Any, data: bytes) -> str:
    """The name of what is assigned to: ``Clock.prototype.tick``, ``readSettings`` of ``exports.readSettings``."""
    if target.type == "string":
        return cut(data, target.start_byte + 1, target.end_byte - 1)
    if target.type == "computed_property_name":
        return text_of(target, data)
    if target.type.endswith("_pattern"):
        return ""
    if target.type == "subscript_expression":
        index = target.child_by_field_name("index")
        return _target(index, data) if index is not None and index.type == "string" else text_of(target, data)
    if target.type == "member_expression" and target.child_by_field_name("object").type not in (
        "identifier", "this", "member_expression",
    ):  # fmt: skip
        return text_of(target.child_by_field_name("property"), data)
    name = text_of(target, data)
    for owner in ("module.exports.", "exports.", "this.", "self."):
        name = name.removeprefix(owner)
    return "" if name == "exports" else name
