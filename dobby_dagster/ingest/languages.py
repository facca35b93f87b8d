"""What counts as a function, a class or a section, by language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True)
class Language:
    """One grammar of the language pack, and its node types.

    Attributes:
        name: The grammar's name, and the record's language.
        endings: Of files.
        functions: Nodes that become a record each.
        classes: Nodes that become a record without the bodies of the functions in them.
        scopes: Nodes that only lend their name to what is in them.
        elided: What stands for the body of a function inside a class.
    """

    name: str
    endings: tuple[str, ...]
    functions: frozenset[str]
    classes: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    elided: str = "{ … }"


_JS_FUNCTIONS = frozenset(
    {"function_declaration", "generator_function_declaration", "method_definition", "variable_declarator"}
)
LANGUAGES = (
    Language(
        "python",
        (".py", ".pyi"),
        frozenset({"function_definition"}),
        frozenset({"class_definition"}),
        elided="...",
    ),
    Language(
        "rust",
        (".rs",),
        frozenset({"function_item"}),
        frozenset({"struct_item", "enum_item", "trait_item", "union_item"}),
        frozenset({"impl_item", "mod_item"}),
    ),
    Language("go", (".go",), frozenset({"function_declaration", "method_declaration"}), frozenset({"type_spec"})),
    Language("javascript", (".js", ".mjs", ".cjs", ".jsx"), _JS_FUNCTIONS, frozenset({"class_declaration"})),
    Language(
        "typescript",
        (".ts", ".mts", ".cts"),
        _JS_FUNCTIONS,
        frozenset(
            {
                "class_declaration",
                "abstract_class_declaration",
                "interface_declaration",
                "enum_declaration",
                "type_alias_declaration",
            }
        ),
        frozenset({"internal_module"}),
    ),
    Language(
        "tsx", (".tsx",), _JS_FUNCTIONS, frozenset({"class_declaration", "interface_declaration", "enum_declaration"})
    ),
    Language(
        "java",
        (".java",),
        frozenset({"method_declaration", "constructor_declaration"}),
        frozenset({"class_declaration", "interface_declaration", "enum_declaration", "record_declaration"}),
    ),
    Language("c", (".c", ".h"), frozenset({"function_definition"}), frozenset({"struct_specifier"})),
    Language(
        "cpp",
        (".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx"),
        frozenset({"function_definition"}),
        frozenset({"class_specifier", "struct_specifier"}),
        frozenset({"namespace_definition"}),
    ),
)
MARKDOWN = (".md", ".markdown")
TEXT = (".txt", ".rst", ".adoc", ".org", ".tex", ".text")
_CPP = re.compile(
    r"^[ \t]*#[ \t]*include[ \t]*<(cstdint|string|vector|map|list|array|bitset|queue|stack|forward_list|unordered_map"
    r"|unordered_set|memory|utility|type_traits|[io]?o?stream)>"
    r"|^[ \t]*template[ \t]*<|^[ \t]*(class|(using[ \t]+)?namespace)[ \t]+\w+|^[ \t]*(private|public|protected):"
    r"|^[ \t]*(try|constexpr)\b|^[ \t]*catch[ \t]*\(|\bstd::\w+",
    re.MULTILINE,
)
_BY_ENDING = {ending: language for language in LANGUAGES for ending in language.endings}


def language_of(path: PurePath, text: str = "") -> Language | None:
    """The language of a source file by its ending; None where it is none of those known.

    Args:
        path: Its name counts.
        text: Of the file: a ``.h`` is C++ where it has what C has not, by the rules of GitHub's Linguist
            (``heuristics.yml``), else C.
    """
    language = _BY_ENDING.get(path.suffix.lower())
    if language is not None and path.suffix.lower() == ".h" and _CPP.search(text):
        return _BY_ENDING[".hpp"]
    return language


def is_known(path: PurePath) -> bool:
    """Whether the file is source, Markdown or text."""
    return path.suffix.lower() in (*_BY_ENDING, *MARKDOWN, *TEXT)
