"""The languages: their file extensions, and the grammar's node types for functions and classes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True)
class Language:
    """One grammar of the language pack, and its node types.

    Attributes:
        name: The record's language.
        extensions: Of files.
        functions: Node types that become a record each.
        classes: Node types that become a record without the bodies of the functions in them.
        scopes: Node types that only qualify the names in them.
        around: Node types that belong to the function or class in them: decorators, modifiers, declarations.
        elided: Placeholder for the body of a function in a class.
        grammar: The grammar's name, if it is not the language's.
    """

    name: str
    extensions: tuple[str, ...]
    functions: frozenset[str]
    classes: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    around: frozenset[str] = frozenset()
    elided: str = "{ … }"
    grammar: str = ""


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


# Assignments in JavaScript are recognised by their value: see the module javascript.
_JS_FUNCTIONS = _set("function_declaration generator_function_declaration method_definition")
_JS_AROUND = _set(
    "export_statement lexical_declaration variable_declaration assignment_expression expression_statement"
    " ambient_declaration"
)
_TS_CLASSES = _set(
    "class_declaration abstract_class_declaration interface_declaration enum_declaration type_alias_declaration"
)
_TS_SCOPES = _set("internal_module module")
_C_CLASSES = _set("struct_specifier union_specifier enum_specifier type_definition")

LANGUAGES = (
    Language(
        "python",
        (".py", ".pyi"),
        _set("function_definition"),
        _set("class_definition"),
        around=_set("decorated_definition"),
        elided="...",
    ),
    Language(
        "rust",
        (".rs",),
        _set("function_item macro_definition"),
        _set("struct_item enum_item trait_item union_item"),
        _set("impl_item mod_item"),
    ),
    Language(
        "go",
        (".go",),
        _set("function_declaration method_declaration"),
        _set("type_spec type_alias"),
        around=_set("type_declaration"),
    ),
    Language(
        "javascript", (".js", ".mjs", ".cjs", ".jsx"), _JS_FUNCTIONS, _set("class_declaration"), around=_JS_AROUND
    ),
    Language("typescript", (".ts", ".mts", ".cts"), _JS_FUNCTIONS, _TS_CLASSES, _TS_SCOPES, _JS_AROUND),
    Language("tsx", (".tsx",), _JS_FUNCTIONS, _TS_CLASSES, _TS_SCOPES, _JS_AROUND),
    Language(
        "java",
        (".java",),
        _set("method_declaration constructor_declaration compact_constructor_declaration"),
        _set("class_declaration interface_declaration enum_declaration record_declaration annotation_type_declaration"),
    ),
    Language("c", (".c", ".h"), _set("function_definition preproc_function_def"), _C_CLASSES),
    Language(
        "cpp",
        (".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx"),
        _set("function_definition preproc_function_def"),
        _C_CLASSES | {"class_specifier"},
        _set("namespace_definition"),
        _set("template_declaration"),
    ),
    Language(
        "csharp",
        (".cs",),
        _set(
            "method_declaration constructor_declaration destructor_declaration operator_declaration indexer_declaration"
            " conversion_operator_declaration local_function_statement"
        ),
        _set(
            "class_declaration interface_declaration struct_declaration record_declaration enum_declaration"
            " delegate_declaration"
        ),
    ),
    Language(
        "ruby",
        (".rb", ".rake"),
        _set("method singleton_method"),
        _set("class module"),
        around=_set("call argument_list"),
        elided="...",
    ),
    Language(
        "php",
        (".php",),
        _set("method_declaration function_definition"),
        _set("class_declaration interface_declaration trait_declaration enum_declaration"),
    ),
    Language(
        "kotlin",
        (".kt", ".kts"),
        _set("function_declaration secondary_constructor"),
        _set("class_declaration object_declaration companion_object"),
    ),
    Language(
        "swift",
        (".swift",),
        _set("function_declaration init_declaration deinit_declaration subscript_declaration"),
        _set("class_declaration protocol_declaration"),
    ),
    Language(
        "scala",
        (".scala", ".sc"),
        _set("function_definition"),
        _set("class_definition object_definition trait_definition enum_definition"),
    ),
    Language("shell", (".sh", ".bash", ".zsh", ".ksh"), _set("function_definition"), grammar="bash"),
)
MARKDOWN = (".md", ".markdown")
NOTEBOOKS = (".ipynb",)
SQL = (".sql",)
TEXT = (".txt", ".rst", ".adoc", ".org", ".tex", ".text")
_CPP = re.compile(
    r"^[ \t]*#[ \t]*include[ \t]*<(cstdint|string|vector|map|list|array|bitset|queue|stack|forward_list|unordered_map"
    r"|unordered_set|memory|utility|type_traits|[io]?o?stream)>"
    r"|^[ \t]*template[ \t]*<|^[ \t]*(class|(using[ \t]+)?namespace)[ \t]+\w+|^[ \t]*(private|public|protected):"
    r"|^[ \t]*(try|constexpr)\b|^[ \t]*catch[ \t]*\(|\bstd::\w+",
    re.MULTILINE,
)
_BY_EXTENSION = {extension: language for language in LANGUAGES for extension in language.extensions}
_KNOWN = {*_BY_EXTENSION, *MARKDOWN, *NOTEBOOKS, *SQL, *TEXT}


def language_of(path: PurePath, text: str = "") -> Language | None:
    """The language of a source file by its extension; None if it is unknown.

    Args:
        path: The file, which is not read.
        text: Its text: a ``.h`` is C++ if it has what C lacks, by the rules of GitHub's Linguist
            (``heuristics.yml``), else C.
    """
    language = _BY_EXTENSION.get(path.suffix.lower())
    if language is not None and path.suffix.lower() == ".h" and _CPP.search(text):
        return _BY_EXTENSION[".hpp"]
    return language


def is_known(path: PurePath) -> bool:
    """Whether the file is source, Markdown, a notebook or text."""
    return path.suffix.lower() in _KNOWN
