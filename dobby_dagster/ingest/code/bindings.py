"""Names that a part of a file binds: parameters, variables and fields, with their types where the text says them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dobby_dagster.ingest.code.callees import CALLING, callee, made, type_name
from dobby_dagster.ingest.code.declaration import text_of

# Per node type the fields of the names, and whether it is a list of plain names.
_NAMES: dict[str, tuple[str, ...]] = {
    "assignment": ("left",),
    "assignment_expression": ("left",),
    "named_expression": ("name",),
    "default_parameter": ("name",),
    "typed_default_parameter": ("name",),
    "typed_parameter": (),
    "as_pattern": ("alias",),
    "for_statement": ("left",),
    "for_in_clause": ("left",),
    "required_parameter": ("pattern",),
    "optional_parameter": ("pattern",),
    "variable_declarator": ("name",),
    "public_field_definition": ("name",),
    "field_definition": ("property",),
    "parameter_declaration": ("name", "declarator"),
    "optional_parameter_declaration": ("declarator",),
    "short_var_declaration": ("left",),
    "var_spec": ("name",),
    "range_clause": ("left",),
    "field_declaration": ("name", "declarator"),
    "parameter": ("pattern", "name"),
    "let_declaration": ("pattern",),
    "formal_parameter": ("name",),
    "local_variable_declaration": ("declarator",),
    "declaration": ("declarator",),
    "enhanced_for_statement": ("name",),
    "simple_parameter": ("name",),
    "val_definition": ("pattern",),
    "property_declaration": ("name",),
    "variable_declaration": (),
}
_LISTS = {
    "parameters",
    "lambda_parameters",
    "formal_parameters",
    "method_parameters",
    "closure_parameters",
    "list_splat_pattern",
}
_PLAIN = {"identifier", "shorthand_property_identifier_pattern", "simple_identifier"}
_WITHOUT_FIELDS = {"typed_parameter", "variable_declaration", "parameter"}
_VALUES = ("value", "right")
_NAME = re.compile(r"(?:(?:self|this|\$this)(?:\.|->)|@)?[A-Za-z_$][\w$]*")
_UNTYPED = {"var", "auto", "val", "let", "const", "void", "object", "Any", "any"}
_FEW = 30
# Types of nodes that bind a name.
BINDING = frozenset(_NAMES) | _LISTS


def bound(node: Any, data: bytes) -> Iterator[tuple[str, str, str]]:
    """The names that the node binds.

    Yields:
        The name, as ``x`` or ``self.x``; its type, empty if unknown; and the variable whose value it gets, if any.
    """
    kind = node.type
    if kind in _LISTS:
        if node.named_child_count <= _FEW:
            yield from ((text_of(child, data), "", "") for child in node.named_children if child.type in _PLAIN)
        return
    if kind not in _NAMES:
        return
    targets = [child for field in _NAMES[kind] for child in node.children_by_field_name(field)]
    targets = [child for child in targets if not child.type.endswith("_type")]  # Swift's grammar names it so, too
    if not targets and kind in _WITHOUT_FIELDS and node.named_child_count <= _FEW:
        children = node.named_children
        targets = [child for child in children if child.type in ("variable_declarator", *_PLAIN)][:1]
    names = [name for target in targets[:_FEW] for name in _names(target, data)]
    if not names:
        return
    typed, other = _type(node, targets, data) if len(names) == len(targets) else ("", "")
    for name in names:
        yield name, typed, other


def _names(target: Any, data: bytes) -> Iterator[str]:
    """The plain names in a target, which may be a pattern or a declarator."""
    for _ in range(4):
        inner = target.child_by_field_name("declarator")
        if target.type == "function_declarator" and (inner is None or inner.type == "identifier"):
            return  # a prototype
        inner = inner or (target.child_by_field_name("name") if "declarator" in target.type else None)
        if inner is None:
            break
        target = inner
    for part in text_of(target, data).split(","):
        name = part.strip(" ()[]{}*&")
        if _NAME.fullmatch(name):
            yield name.replace("$this->", "self.").replace("this.", "self.").replace("@", "self.").lstrip("$")


def _type(node: Any, targets: list[Any], data: bytes) -> tuple[str, str]:
    """The type of what is bound, and the variable whose value it gets."""
    typed = node.child_by_field_name("type")
    if typed is None and node.type in ("variable_declaration", "parameter"):
        typed = next((child for child in node.named_children if child.type.endswith("_type")), None)
    name = type_name(text_of(typed, data)) if typed is not None else ""
    if name and name not in _UNTYPED:
        return name, ""
    value = next((found for field in _VALUES if (found := node.child_by_field_name(field)) is not None), None)
    if value is None and node.type == "as_pattern":
        value = node.named_children[0]
    if value is None and len(targets) == 1:
        value = targets[0].child_by_field_name("value")
    if value is None and node.type == "variable_declarator" and node.named_child_count == 2:
        value = node.named_children[1]
    return _type_of_value(value, data)


def _type_of_value(value: Any, data: bytes) -> tuple[str, str]:
    """The type that a value obviously has, and else the variable that it is."""
    for _ in range(4):
        if value is None:
            return "", ""
        if value.type == "composite_literal":
            return type_name(text_of(value.child_by_field_name("type"), data)), ""
        if value.type in CALLING:
            return made(callee(value, data)), ""
        if value.type in ("identifier", "variable_name", "simple_identifier"):
            return "", text_of(value, data).lstrip("$")
        if value.type not in ("expression_list", "unary_expression", "await", "await_expression", "as_expression",
                              "parenthesized_expression", "try_expression", "reference_expression"):  # fmt: skip
            return "", ""
        value = next(iter(value.named_children), None)
    return "", ""
