"""Recognises the nodes of a syntax tree that declare something, and reads the name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dobby_dagster.ingest.code import javascript
from dobby_dagster.ingest.code.declaration import Declaration, cut, text_of
from dobby_dagster.ingest.code.languages import Language
from dobby_dagster.ingest.code.syntax_tree import Level

_BODIES = ("function_body", "class_body", "enum_class_body")  # Kotlin's grammar has no fields
_NAMES = ("simple_identifier", "type_identifier")
_UNNAMED = {
    "operator_declaration": "operator",
    "conversion_operator_declaration": "operator",
    "indexer_declaration": "this",
    "secondary_constructor": "constructor",
    "init_declaration": "init",
    "deinit_declaration": "deinit",
    "subscript_declaration": "subscript",
    "companion_object": "Companion",
}
_METHODS = ("method_declaration", "method_definition")


def declaration(language: Language, path: Sequence[Level], data: bytes, *, in_function: bool) -> Declaration | None:
    """What the last node of ``path`` declares: a function, a class or a scope; None for anything else.

    Args:
        language: The language of the text.
        path: The nodes from the root to the node.
        data: The text, UTF-8.
        in_function: Whether the node is inside a function.
    """
    node = path[-1].node
    if language.name in ("javascript", "typescript", "tsx"):
        found = javascript.declaration(node, data, in_function=in_function)
        if found is not None:
            return found
    kind = node.type
    if kind in language.functions and not _is_one_line_macro(node):
        return _named(node, data, "function")
    if kind in language.classes and _has_body(path):
        return _named(node, data, "class")
    if kind in language.scopes:
        return _named(node, data, "scope")
    return None


def _named(node: Any, data: bytes, kind: str) -> Declaration | None:
    name = _name(node, data)
    method = node.type in _METHODS or node.type == "impl_item"
    return Declaration(kind, name, _body(node), method=method) if name else None


def _body(node: Any) -> Any:
    return node.child_by_field_name("body") or next((c for c in node.named_children if c.type in _BODIES), None)


def _is_one_line_macro(node: Any) -> bool:
    return bool(node.type == "preproc_function_def" and node.end_point[0] - node.start_point[0] < 2)


def _has_body(path: Sequence[Level]) -> bool:
    """Whether a type of C is defined here rather than named; a ``typedef`` counts for the type in it."""
    node = path[-1].node
    if node.type == "type_definition":
        held = node.child_by_field_name("type")
        return held is not None and held.child_by_field_name("body") is not None
    if node.type.endswith("_specifier"):
        in_typedef = len(path) > 1 and path[-2].node.type == "type_definition"
        return node.child_by_field_name("body") is not None and not in_typedef
    return True


def _name(node: Any, data: bytes) -> str:
    named = _named_node(node)
    if named is None:
        return _UNNAMED.get(node.type, "")
    name = cut(data, named.start_byte, _end_of_name(named))
    if node.type == "destructor_declaration":
        return f"~{name}"
    owner = _receiver(node)
    if owner is not None:
        name = f"{text_of(owner, data)}.{name}"
    elif _is_macro_call(node, name):
        name = cut(data, named.start_byte, node.child_by_field_name("declarator").end_byte)
    return name


def _named_node(node: Any) -> Any:
    """The node of the name: the field ``name``, the type of an ``impl``, or the innermost declarator in C."""
    named = node.child_by_field_name("name")
    if named is None and node.type == "impl_item":
        named = node.child_by_field_name("type")
        if named is not None and named.type == "generic_type":  # `Wrapper` of `impl<T> Display for Wrapper<T>`
            named = named.child_by_field_name("type")
    if named is None and node.type == "type_definition":
        return _name_of_typedef(node)
    declarator = node.child_by_field_name("declarator")
    while named is None and declarator is not None:
        inner = None if declarator.type == "operator_cast" else declarator.child_by_field_name("declarator")
        if inner is None and declarator.type in ("reference_declarator", "parenthesized_declarator"):
            inner = next(iter(declarator.named_children), None)
        if inner is None:
            named = declarator
        declarator = inner
    return named or next((child for child in node.named_children if child.type in _NAMES), None)


def _name_of_typedef(node: Any) -> Any:
    """``T`` of ``typedef struct tag { … } T, *P;``, else the tag, else ``P``."""
    declarators = node.children_by_field_name("declarator")
    plain = next((child for child in declarators if child.type == "type_identifier"), None)
    inner = next(iter(declarators), None)
    while inner is not None and inner.type != "type_identifier":
        inner = inner.child_by_field_name("declarator")
    return plain or node.child_by_field_name("type").child_by_field_name("name") or inner


def _end_of_name(named: Any) -> int:
    """Where a name ends; for C++'s ``operator bool() const`` where the parameters begin."""
    if named.type != "operator_cast":
        return int(named.end_byte)
    end = named
    while (inner := end.child_by_field_name("declarator")) is not None:
        end = inner
    return int(end.start_byte)


def _receiver(node: Any) -> Any:
    """The type that a method of Go belongs to: ``Table`` of ``func (t *Table[K, V]) Find()``."""
    receiver = node.child_by_field_name("receiver") if node.type == "method_declaration" else None
    if receiver is None:
        return None
    of = next((child for child in receiver.named_children if child.type == "parameter_declaration"), None)
    while of is not None and of.type in ("parameter_declaration", "pointer_type", "generic_type", "parenthesized_type"):
        inner = of.child_by_field_name("type")
        of = inner or next(iter(of.named_children), None)
    return of


def _is_macro_call(node: Any, name: str) -> bool:
    """Whether it is ``TEST(Suite, Name) { … }`` in C: a function without a type, named as a macro."""
    if not name.isupper() or node.child_by_field_name("declarator") is None:
        return False
    return node.child_by_field_name("type") is None
