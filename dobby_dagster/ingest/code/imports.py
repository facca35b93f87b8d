"""What the nodes of a syntax tree import, by language."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from dobby_dagster.ingest.code.declaration import MAX_NAME, text_of
from dobby_dagster.ingest.code.references import Import

_MAX_TEXT = 4_000
_MAX_DEPTH = 8
_QUOTED = re.compile(r"""["'<]([^"'<>\n]+)["'>]""")


def imported(language: str, node: Any, data: bytes) -> Iterator[Import]:
    """What the node imports; nothing for most nodes."""
    reader = _READERS.get((language, node.type))
    if reader is not None:
        for found in reader(node, data):
            if (found.module or found.name) and len(found.module) <= MAX_NAME:
                yield found


def _python(node: Any, data: bytes) -> Iterator[Import]:
    for child in node.children_by_field_name("name"):
        module, alias = _aliased(child, data)
        # `import a.b` binds `a`, `import a.b as c` binds `a.b`.
        yield Import(module, "", alias or module)


def _python_from(node: Any, data: bytes) -> Iterator[Import]:
    module = text_of(node.child_by_field_name("module_name"), data).replace(" ", "")
    names = node.children_by_field_name("name")
    if not names:
        yield Import(module, "*")
    for child in names:
        name, alias = _aliased(child, data)
        yield Import(module, name, alias or name)


def _aliased(node: Any, data: bytes) -> tuple[str, str]:
    if node.type != "aliased_import":
        return text_of(node, data), ""
    return text_of(node.child_by_field_name("name"), data), text_of(node.child_by_field_name("alias"), data)


def _javascript(node: Any, data: bytes) -> Iterator[Import]:
    source = node.child_by_field_name("source")
    if source is None and node.type == "import_statement":
        return
    module = text_of(source, data).strip("'\"`") if source is not None else ""
    clauses = [child for child in node.named_children if child.type in ("import_clause", "export_clause")]
    if not clauses and module:
        yield Import(module, "*" if node.type == "export_statement" else "")
    elif not clauses and (name := _exported_by_default(node, data)):
        yield Import("", name, "default")
    for clause in clauses:
        for child in clause.named_children:
            if child.type == "identifier":
                yield Import(module, "default", text_of(child, data))
            elif child.type == "namespace_import":
                yield Import(module, "", text_of(child.named_children[0], data))
            for one in child.named_children if child.type == "named_imports" else [child]:
                if one.type in ("import_specifier", "export_specifier"):
                    name, alias = one.child_by_field_name("name"), one.child_by_field_name("alias")
                    yield Import(module, text_of(name, data), text_of(alias or name, data))


def _exported_by_default(node: Any, data: bytes) -> str:
    """``Table`` of ``export default class Table`` and of ``export default Table``."""
    if data[node.start_byte : node.start_byte + 20].split()[1:2] != [b"default"]:
        return ""
    value = node.child_by_field_name("declaration") or node.child_by_field_name("value")
    name = value.child_by_field_name("name") if value is not None and value.type != "identifier" else value
    return text_of(name, data) if name is not None else ""


def _require(node: Any, data: bytes) -> Iterator[Import]:
    """``const x = require("m")`` and ``const { a, b: c } = require("m")``."""
    value, name = node.child_by_field_name("value"), node.child_by_field_name("name")
    if value is None or value.type != "call_expression" or not data.startswith(b"require(", value.start_byte):
        return
    found = _QUOTED.search(text_of(value, data))
    if found is None:
        return
    if name.type == "identifier":
        yield Import(found[1], "", text_of(name, data))
    for child in name.named_children if name.type == "object_pattern" else []:
        if child.type == "shorthand_property_identifier_pattern":
            yield Import(found[1], text_of(child, data), text_of(child, data))
        elif child.type == "pair_pattern":
            key, alias = child.child_by_field_name("key"), child.child_by_field_name("value")
            yield Import(found[1], text_of(key, data), text_of(alias, data))


def _go(node: Any, data: bytes) -> Iterator[Import]:
    module = text_of(node.child_by_field_name("path"), data).strip('"`')
    name = node.child_by_field_name("name")
    alias = text_of(name, data) if name is not None else module.rsplit("/", 1)[-1]
    yield Import(module, "*" if alias == "." else "", "" if alias in (".", "_") else alias)


def _rust(node: Any, data: bytes) -> Iterator[Import]:
    argument = node.child_by_field_name("argument")
    if argument is not None and argument.end_byte - argument.start_byte <= _MAX_TEXT:
        text = data[argument.start_byte : argument.end_byte].decode("utf-8", "ignore")
        yield from _rust_tree("", " ".join(text.split()), _MAX_DEPTH)


def _rust_tree(above: str, text: str, depth: int) -> Iterator[Import]:
    """The leaves of ``a::{b::C as D, e::*}``."""
    head, brace, rest = text.strip().partition("{")
    if brace:
        if not depth:
            return
        prefix = "::".join(filter(None, (above, head.strip(": "))))
        for part in _top_level(rest.rpartition("}")[0]):
            yield from _rust_tree(prefix, part, depth - 1)
        return
    path, _, alias = "::".join(filter(None, (above, text.strip()))).partition(" as ")
    if path.endswith("::self"):
        path = path.removesuffix("::self")
        yield Import(path, "", alias or path.rsplit("::", 1)[-1])
        return
    module, _, name = path.rpartition("::")
    yield Import(module or name, name if module else "", "" if name == "*" else alias or name)


def _top_level(text: str) -> Iterator[str]:
    """``text`` split at the commas that are in no braces."""
    depth = begin = 0
    for at, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and not depth:
            yield text[begin:at]
            begin = at + 1
    if text[begin:]:
        yield text[begin:]


def _rust_module(node: Any, data: bytes) -> Iterator[Import]:
    if node.child_by_field_name("body") is None:
        name = text_of(node.child_by_field_name("name"), data)
        yield Import(f"self::{name}", "", name)


def _include(node: Any, data: bytes) -> Iterator[Import]:
    text = text_of(node.child_by_field_name("path"), data)
    yield Import(("<" if text.startswith("<") else "./") + text.strip('<>"'), "*")


def _dotted(node: Any, data: bytes) -> Iterator[Import]:
    """Java, Kotlin, Scala, C#, PHP and Swift: ``import static a.b.C as D;``, ``a.b.*``, ``a.{B, C}``."""
    text = text_of(node, data).rstrip(";").replace("\\", ".")
    text = re.sub(r"^(?:import|using|use|static|global|function|const|typealias|struct|class|func|\s)+\s", "", text)
    text = re.sub(r"^(\w+) ?= ?(.+)$", r"\2 as \1", text)
    path, brace, rest = text.partition("{")
    for part in rest.rstrip("} ").split(",") if brace else [""]:
        full, _, alias = (path + part.strip()).replace(" => ", " as ").partition(" as ")
        module, _, name = full.strip().strip(".").rpartition(".")
        name = "*" if name in ("*", "_") else name
        yield Import(module or name, name if module else "", "" if name == "*" else alias.strip() or name)


def _ruby(node: Any, data: bytes) -> Iterator[Import]:
    text = text_of(node, data)
    if text.startswith(("require", "load")) and (found := _QUOTED.search(text)):
        yield Import(("./" if text.startswith("require_relative") else "") + found[1], "*")


def _shell(node: Any, data: bytes) -> Iterator[Import]:
    words = text_of(node, data).split()
    if len(words) > 1 and words[0] in (".", "source") and "$" not in words[1]:
        yield Import(words[1].strip("'\""), "*")


_READERS: dict[tuple[str, str], Callable[[Any, bytes], Iterator[Import]]] = {
    ("python", "import_statement"): _python,
    ("python", "import_from_statement"): _python_from,
    ("go", "import_spec"): _go,
    ("rust", "use_declaration"): _rust,
    ("rust", "mod_item"): _rust_module,
    ("c", "preproc_include"): _include,
    ("cpp", "preproc_include"): _include,
    ("java", "import_declaration"): _dotted,
    ("kotlin", "import_header"): _dotted,
    ("scala", "import_declaration"): _dotted,
    ("swift", "import_declaration"): _dotted,
    ("csharp", "using_directive"): _dotted,
    ("php", "namespace_use_declaration"): _dotted,
    ("ruby", "call"): _ruby,
    ("shell", "command"): _shell,
}
for _name in ("javascript", "typescript", "tsx"):
    _READERS[_name, "import_statement"] = _READERS[_name, "export_statement"] = _javascript
    _READERS[_name, "variable_declarator"] = _require
# Types of nodes that may import something, in any language.
IMPORTING = frozenset(node_type for _, node_type in _READERS)
