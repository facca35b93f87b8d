"""Python modules, packages and classes: an outline of their parts, and the first sentence of their docstring."""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import PurePath

from training.corpus.kinds.found import found
from training.corpus.pair import Pair

LONGEST_HEAD = 1_500
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def python(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield the module and each of its documented classes of more than one method."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    lines = text.splitlines(keepends=True)
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or not ast.get_docstring(node):
            continue
        if sum(isinstance(part, Definition) for part in node.body) > 1:
            yield from _pair(project, "class", node.name, node, "\n".join(outline([node])), lines)
    yield from _module(project, path, text, tree, lines)


def outline(body: list[ast.stmt], indent: str = "") -> Iterator[str]:
    """Yield the signature of each function and class of ``body``, classes with their methods, one a line."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            bases = ", ".join(ast.unparse(base) for base in node.bases)
            yield f"{indent}class {node.name}{f'({bases})' if bases else ''}:"
            yield from outline(node.body, indent + "    ")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            begin = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
            yield f"{indent}{begin} {node.name}({ast.unparse(node.args)}){returns}"[:200]
        elif isinstance(node, ast.Assign) and not indent and isinstance(node.targets[0], ast.Name):
            yield f"{node.targets[0].id} = {ast.unparse(node.value)}"[:80]


def _module(project: str, path: str, text: str, tree: ast.Module, lines: list[str]) -> Iterator[Pair]:
    if not ast.get_docstring(tree):
        return
    place = PurePath(path)
    kind, name = ("package", place.parent.name) if place.stem == "__init__" else ("module", place.stem)
    parts = "\n".join(outline(tree.body))
    head = "\n".join(_source(lines, node) for node in tree.body[1:12] if not _imports(node))
    if kind == "package" and len(parts) < 200:
        parts = "\n".join(_source(lines, node) for node in tree.body[1:60])
    elif len(head) > 200 and hashlib.sha256(text.encode("utf-8", "replace")).digest()[0] < 96:
        parts = head[:LONGEST_HEAD]
    yield from _pair(project, kind, name, tree, parts, lines)


def _pair(
    project: str, kind: str, name: str, node: ast.Module | ast.ClassDef, content: str, lines: list[str]
) -> Iterator[Pair]:
    plain = ast.get_docstring(node, clean=True)
    if not plain:
        return
    written = _source(lines, node.body[0]).strip()
    documentation, at = f"{written}\n", 0
    if kind == "class":
        at = content.index("\n") + 1
        documentation = f"    {written}\n"
    pair = found(project, "python", kind, name, content, plain, documentation, at)
    if pair is not None:
        yield pair


def _source(lines: list[str], node: ast.stmt) -> str:
    return "".join(lines[node.lineno - 1 : node.end_lineno]).rstrip()


def _imports(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)
