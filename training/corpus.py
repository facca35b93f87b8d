"""Pairs of code and the first sentence of its documentation, from released wheels.

One command makes the corpus anew: every project of ``projects.toml`` is fetched by name and pinned
version with pip, its functions are read with :mod:`ast`, and each documented one becomes a pair.
The split is by project, so that no project is in training and in test.

    python -m training.corpus --out build/corpus
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

PROJECTS = Path(__file__).with_name("projects.toml")
MAX_CODE_CHARACTERS = 4_000
TEST_FOLDERS = re.compile(r"(^|/)(tests?|testing|_vendor|vendor|examples?|conftest\.py)(/|$|_)")
UNWANTED = re.compile(
    r"https?:|www\.|deprecated|copyright|todo|fixme|>>>|::|@param|:param|:type|\bversionadded\b",
    re.IGNORECASE,
)
ROLE = re.compile(r":[a-z:]+:`[~!]?([^`<]+?)(?:\s*<[^`]*>)?`")


@dataclass(frozen=True)
class Pair:
    """A function without its docstring, the docstring as it stood, and the docstring's first sentence."""

    project: str
    code: str
    docstring: str
    summary: str


def first_sentence(docstring: str) -> str | None:
    """The first sentence of ``docstring`` as plain text, or None where it is of no use as a summary."""
    paragraph = re.split(r"\n\s*\n", textwrap.dedent(docstring).strip(), maxsplit=1)[0]
    text = " ".join(paragraph.split())
    text = ROLE.sub(r"\1", text).replace("``", "").replace("`", "").replace("**", "")
    match = re.match(r"(.+?[.!?])(?:\s|$)", text)
    sentence = (match.group(1) if match else text).strip()
    words = sentence.split()
    if not 3 <= len(words) <= 30 or not sentence.isascii() or UNWANTED.search(sentence):
        return None
    if not re.match(r"[A-Z][a-z]", sentence) or re.search(r"[{}<>|\\=]|\(\s*$|:$", sentence):
        return None
    return sentence if sentence.endswith((".", "!", "?")) else sentence + "."


def pairs_of_source(project: str, source: str) -> Iterator[Pair]:
    """Yield the documented functions and methods of one file; nothing where it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    lines = source.splitlines(keepends=True)
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or len(node.body) < 2:
            continue
        document = ast.get_docstring(node, clean=False)
        summary = first_sentence(document) if document else None
        if summary is None or "\t" in document[:200]:
            continue
        start = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
        statement = node.body[0]
        head = "".join(lines[start : statement.lineno - 1])
        body = "".join(lines[statement.end_lineno or 0 : node.end_lineno])
        written = "".join(lines[statement.lineno - 1 : statement.end_lineno])
        code = textwrap.dedent(head + body).strip()
        if len(code) < 40:
            continue
        indent = len(lines[start]) - len(lines[start].lstrip())
        document_text = textwrap.indent(textwrap.dedent(written), "    ") if indent else written
        yield Pair(project, code[:MAX_CODE_CHARACTERS], document_text.rstrip(), summary)


def documented(pair: Pair) -> str | None:
    """The code of ``pair`` with its docstring in its place, as most records have it; None where it was cut short."""
    try:
        function = ast.parse(pair.code).body[0]
    except SyntaxError:
        return None
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    first = function.body[0].lineno - 1
    lines = pair.code.splitlines(keepends=True)
    return "".join(lines[:first]) + pair.docstring + "\n" + "".join(lines[first:])


def download(name: str, version: str, folder: Path) -> Path:
    """Fetch the wheel of ``name`` at ``version`` into ``folder`` unless it is there."""
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    found = [p for p in folder.glob("*.whl") if p.match(pattern) or p.name.lower().startswith(pattern[:-5].lower())]
    if not found:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "-d", str(folder), f"{name}=={version}"], check=True)
        return download(name, version, folder)
    return found[0]


def pairs_of_wheel(project: str, wheel: Path) -> Iterator[Pair]:
    """Yield the pairs of every module in ``wheel`` that is not a test or somebody else's code."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".py") and not TEST_FOLDERS.search(name):
                yield from pairs_of_source(project, archive.read(name).decode("utf-8", "replace"))


def near_key(pair: Pair) -> bytes:
    """Equal for pairs that differ in white space, digits and names' case only."""
    text = re.sub(r"[\W\d_]+", "", (pair.code[:600] + pair.summary).lower())
    return hashlib.sha256(text.encode()).digest()[:12]


def build(out: Path, wheels: Path) -> dict[str, int]:
    """Write ``train``, ``validation`` and ``test`` as JSON lines to ``out``; return how many pairs each holds.

    Held-out projects are read first, so that what training shares with them is dropped from training.
    """
    out.mkdir(parents=True, exist_ok=True)
    wheels.mkdir(parents=True, exist_ok=True)
    projects = tomllib.loads(PROJECTS.read_text())["project"]
    seen: set[bytes] = set()
    repeated: dict[str, int] = {}
    counts: dict[str, int] = {}
    for role in ("test", "validation", "train"):
        with (out / f"{role}.jsonl").open("w") as stream:
            for entry in (p for p in projects if p["role"] == role):
                for pair in pairs_of_wheel(entry["name"], download(entry["name"], entry["version"], wheels)):
                    repeated[pair.summary] = repeated.get(pair.summary, 0) + 1
                    key = near_key(pair)
                    if key in seen or repeated[pair.summary] > 20:
                        continue
                    seen.add(key)
                    counts[role] = counts.get(role, 0) + 1
                    stream.write(json.dumps(asdict(pair)) + "\n")
    return counts


def main() -> None:
    """Parse the command line and build the corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/corpus"))
    parser.add_argument("--wheels", type=Path, default=Path("build/wheels"))
    arguments = parser.parse_args()
    print(json.dumps(build(arguments.out, arguments.wheels)))


if __name__ == "__main__":
    main()
