"""Finds the file or folder that an import names, by the rules of its language; the files are not read."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence, Set
from posixpath import normpath

from dobby_dagster.ingest.graph.code_files import CodeFile

_DEEPEST, _MOST = 12, 200
_JS_ENDINGS = ("", ".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts")
_JS_WRITTEN = re.compile(r"\.[cm]?jsx?$")
_PYTHON = re.compile(r"\.pyi?$")
_RUST_ROOTS = ("lib.rs", "main.rs")


class Modules:
    """Which files and folders there are, found by what imports call them.

    Args:
        files: Of one tree.
    """

    def __init__(self, files: Iterable[CodeFile]) -> None:
        self._files = {file.place: file for file in files}
        self._folders = {folder for place in self._files for folder in _above(place)}
        self._endings: dict[str, list[str]] = {}
        self._python: dict[str, dict[str, str]] = {}
        self._importing: dict[str, set[str]] = {}
        for place, file in self._files.items():
            names = place.split("/")
            for at in range(max(0, len(names) - _DEEPEST), len(names)):
                self._endings.setdefault("/".join(names[at:]), []).append(place)
            if file.language == "python" or _PYTHON.search(place):
                self._add_python(place)
            for alias in {each.alias for each in file.references.imports if each.alias}:
                self._importing.setdefault(alias, set()).add(place)
        self._folder_endings: dict[str, list[str]] = {}
        for folder in sorted(self._folders):
            names = folder.split("/")
            for at in range(max(0, len(names) - _DEEPEST), len(names)):
                self._folder_endings.setdefault("/".join(names[at:]), []).append(folder)
        self._go_prefix = self._most_common_go_prefix()
        self._known: dict[tuple[str, str, str], str] = {}

    def find(self, file: CodeFile, module: str) -> str:
        """The place of the file or folder that ``module`` names in ``file``; empty if it is not in the tree."""
        if not module:
            return file.place
        finder = _FINDERS.get(file.language)
        if finder is None:
            return ""
        # The same in all files of a folder, but for Rust, where it depends on the file.
        where = file.place if file.language == "rust" else file.folder
        known = (file.language, where, module)
        if known not in self._known:
            self._known[known] = finder(self, file, module)
        return self._known[known]

    def file(self, place: str) -> CodeFile | None:
        """The file at ``place``; None if that is a folder, or nothing."""
        return self._files.get(place)

    def importing(self, alias: str) -> Set[str]:
        """The places of the files that import something as ``alias``."""
        return self._importing.get(alias, frozenset())

    def submodule(self, place: str, name: str) -> str:
        """The module ``name`` in the package ``place``, a folder or its ``__init__.py``; empty if there is none."""
        folder = place.removesuffix("/__init__.py").removesuffix("/mod.rs")
        below = f"{folder.removesuffix('.rs')}/{name}"
        return self._first(
            f"{below}.py", f"{below}/__init__.py", f"{below}.pyi", f"{below}.rs", f"{below}/mod.rs", below
        )

    def _first(self, *places: str) -> str:
        return next((place for place in places if place in self._files or place in self._folders), "")

    def _nearest(self, places: Sequence[str], to: str) -> str:
        """The place that shares most folders with ``to``; empty if several do, or if there are too many to compare."""
        if len(places) > _MOST:
            return ""
        ranked = sorted(((_shared(place, to), place) for place in places), reverse=True)
        return ranked[0][1] if ranked and (len(ranked) == 1 or ranked[0][0] > ranked[1][0]) else ""

    def _add_python(self, place: str) -> None:
        names = _PYTHON.sub("", place).removesuffix("/__init__").split("/")
        for at in range(max(0, len(names) - _DEEPEST), len(names)):
            root = "/".join(names[:at])
            if f"{root}/__init__.py" not in self._files:
                there = self._python.setdefault(".".join(names[at:]), {})
                there[root] = min(there.get(root, place), place)  # `.py` before `.pyi`

    def _find_python(self, file: CodeFile, module: str) -> str:
        if module.startswith("."):
            rest = module.lstrip(".")
            names = file.place.split("/")[: -(len(module) - len(rest))]
            below = "/".join([*names, *filter(None, rest.split("."))])
            return self._first(f"{below}.py", f"{below}/__init__.py", f"{below}.pyi", below)
        found = self._python.get(module, {})
        for root in (file.folder, *_above(file.folder), ""):
            if root in found:
                return found[root]
        if module.partition(".")[0] in sys.stdlib_module_names:
            return ""
        names, tree = module.split("."), file.place.partition("/")[0]
        if not found and tree in names[1:]:  # the tree is a package inside of the one that imports name
            return self._find_python(file, ".".join(names[names.index(tree, 1) :]))
        return self._nearest(list(found.values()), file.place)

    def _find_javascript(self, file: CodeFile, module: str) -> str:
        if not module.startswith("."):
            return ""
        below = normpath(f"{file.folder}/{module}")
        bases = [below, _JS_WRITTEN.sub("", below)]
        plain = [base + ending for base in bases for ending in _JS_ENDINGS if base + ending in self._files]
        return next(iter(plain), "") or self._first(*(f"{below}/index{ending}" for ending in _JS_ENDINGS[1:]), below)

    def _find_go(self, file: CodeFile, module: str) -> str:
        whole = self._folder_endings.get(module, [])
        if len(whole) == 1:
            return whole[0]
        if self._go_prefix and module.startswith(self._go_prefix):
            return self._nearest(self._folder_endings.get(module[len(self._go_prefix) :], []), file.place)
        return ""

    def _most_common_go_prefix(self) -> str:
        """What most imports of folders of the tree begin with: the path of the Go module, with a slash."""
        counts: dict[str, int] = {}
        modules = {i.module for file in self._files.values() if file.language == "go" for i in file.references.imports}
        for module in modules:
            names = module.split("/")
            at = next((n for n in range(1, len(names)) if "/".join(names[n:]) in self._folder_endings), 0)
            if at and "." in names[0]:
                prefix = "/".join(names[:at]) + "/"
                counts[prefix] = counts.get(prefix, 0) + 1
        return max(counts, key=lambda prefix: (counts[prefix], prefix), default="")

    def _find_rust(self, file: CodeFile, module: str) -> str:
        names = module.split("::")
        at = ""
        if names[0] == "crate":
            at, names = self._crate_root(file.place), names[1:]
        elif names[0] in ("self", "super"):
            at = self._rust_folder(file)
            for name in names:
                at = at.rpartition("/")[0] if name == "super" else at
            names = [name for name in names if name not in ("self", "super")]
        elif beside := self.submodule(self._rust_folder(file), names[0]):
            at, names = beside.removesuffix(".rs").removesuffix("/mod"), names[1:]
        else:
            crates = self._folder_endings.get(names[0], []) + self._folder_endings.get(names[0].replace("_", "-"), [])
            at = next((f"{crate}/src" for crate in crates if f"{crate}/src/lib.rs" in self._files), "")
            names = names[1:]
        if not at:
            return ""
        place = self._first(*(f"{at}/{root}" for root in _RUST_ROOTS), f"{at}.rs", f"{at}/mod.rs")
        for name in names:
            below = self.submodule(at, name)
            if not below:
                break  # an item, or a module in the file
            place, at = below, re.sub(r"/mod\.rs$|\.rs$", "", below)
        return place

    def _rust_folder(self, file: CodeFile) -> str:
        """Where the modules in the module ``file`` are."""
        return re.sub(r"/(?:mod|lib|main)\.rs$|\.rs$", "", file.place)

    def _crate_root(self, place: str) -> str:
        return next((at for at in _above(place) if any(f"{at}/{root}" in self._files for root in _RUST_ROOTS)), "")

    def _find_dotted(self, file: CodeFile, module: str) -> str:
        below = module.replace(".", "/")
        endings = {"java": (".java", ".kt", ".scala"), "kotlin": (".kt", ".java"), "scala": (".scala", ".java"),
                   "php": (".php",)}.get(file.language, ())  # fmt: skip
        for ending in endings:
            if found := self._nearest(self._endings.get(below + ending, []), file.place):
                return found
        return self._nearest(self._folder_endings.get(below, []), file.place) if "." in module else ""

    def _find_relative(self, file: CodeFile, module: str) -> str:
        """C's includes, and Ruby's and the shell's files."""
        name = module.lstrip("<")
        ending = ".rb" if file.language == "ruby" and not name.endswith(".rb") else ""
        beside = normpath(f"{file.folder}/{name}{ending}")
        if not module.startswith("<") and beside in self._files:
            return beside
        return self._nearest(self._endings.get(normpath(name) + ending, []), file.place)


_FINDERS: dict[str, Callable[[Modules, CodeFile, str], str]] = {
    "python": Modules._find_python,
    **dict.fromkeys(("javascript", "typescript", "tsx"), Modules._find_javascript),
    "go": Modules._find_go,
    "rust": Modules._find_rust,
    **dict.fromkeys(("java", "kotlin", "scala", "php"), Modules._find_dotted),
    **dict.fromkeys(("c", "cpp", "ruby", "shell"), Modules._find_relative),
}


def package_of(language: str, module: str) -> str:
    """The package outside of the tree that ``module`` belongs to; empty for what is relative.

    >>> package_of("python", "numpy.linalg"), package_of("tsx", "@scope/parts/x"), package_of("java", "java.util.A")
    ('numpy', '@scope/parts', 'java.util')
    """
    if module.startswith(".") or not module:
        return ""
    if language in ("javascript", "typescript", "tsx"):
        return "/".join(module.split("/")[: 2 if module.startswith("@") else 1]) if module[1:2] != "/" else ""
    if language == "rust":
        first = module.partition("::")[0]
        return "" if first in ("crate", "self", "super") else first
    if language in ("java", "kotlin", "scala"):
        return ".".join(name for name in module.split(".") if name[:1].islower())
    if language in ("c", "cpp"):
        return module.lstrip("<")
    if language in ("go", "shell", "ruby", "csharp"):
        return module
    return module.partition(".")[0]


def _above(place: str) -> Iterable[str]:
    while "/" in place:
        place = place.rpartition("/")[0]
        yield place


def _shared(one: str, other: str) -> int:
    """How many folders two places have in common."""
    pairs = zip(one.split("/")[:-1], other.split("/")[:-1], strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(one.count("/"), other.count("/")))
