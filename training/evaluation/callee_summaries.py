"""Whether a model says better what a function does if it is told what the functions do that it calls.

    python -m training.evaluation.callee_summaries --model MODEL --count 150 FOLDER

FOLDER is a Python package; its docstrings are taken away, and the first sentences of those of the sample are the
reference. Callees are summarised first, by the same model and without being told of their own callees, and again as their
authors did.
"""

from __future__ import annotations

import argparse
import ast
import random
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dobby_dagster.domain.code_graph import EdgeKind
from dobby_dagster.domain.settings import (
    DEFAULT_MODEL,
    DatabaseSettings,
    InferenceSettings,
    ModelSettings,
    SourceSettings,
)
from dobby_dagster.inference.engine import Engine
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.scoring.text_overlap import chrf, interval, rouge_l, smoothed_bleu
from dobby_dagster.ingest.ingestion import ingest
from dobby_dagster.pipeline.callees.callee_context import CERTAINTY, callee_context, with_context
from dobby_dagster.store.cozo_store import CozoStore
from training.corpus.pair import Pair
from training.evaluation.answers import answers_of
from training.evaluation.outline_forms import first_sentence

MOST = 4


@dataclass(frozen=True)
class Function:
    """A function without its docstring, and what its docstring begins with."""

    key: str
    content: str
    reference: str


def undocumented(text: str) -> tuple[str, dict[str, str]]:
    r"""A module without docstrings, and the first sentence of each docstring by the qualified name of its owner.

    >>> undocumented('def f():\n    "Does it."\n    return 1\n')
    ('def f():\n    return 1\n', {'f': 'Does it.'})
    """
    lines: list[str | None] = list(text.splitlines(keepends=True))
    said: dict[str, str] = {}

    def visit(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> None:
        documentation = ast.get_docstring(node)
        first = node.body[0] if node.body else None
        if documentation is not None and first is not None:
            said[name] = first_sentence(documentation)
            for number in range(first.lineno - 1, first.end_lineno or first.lineno):
                lines[number] = None
            if len(node.body) == 1:
                lines[first.lineno - 1] = " " * first.col_offset + "...\n"
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                visit(child, f"{name}.{child.name}".removeprefix("."))

    with warnings.catch_warnings(action="ignore"):
        visit(ast.parse(text), "")
    said.pop("", None)
    return "".join(line for line in lines if line is not None), said


def functions_of(folder: Path, store: CozoStore, place: Path) -> tuple[dict[str, Function], dict[str, list[str]]]:
    """The functions of a package without their docstrings, by key, and the callees of each, the most certain first."""
    said: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        within = path.relative_to(folder.parent)
        if "tests" in within.parts:
            continue
        text, sentences = undocumented(path.read_text())
        said |= {f"{within.as_posix()}::{name}": sentence for name, sentence in sentences.items()}
        (place / within).parent.mkdir(parents=True, exist_ok=True)
        (place / within).write_text(text)
    ingest(store, [place / folder.name])
    source = store.source(SourceSettings())
    records = [record for page in source.pages(500) for record in page if "::" in record.key]
    functions = {each.key: Function(each.key, str(each.content), said.get(each.key, "")) for each in records}
    edges = store.graph.edges_from(list(functions), [EdgeKind.CALLS])
    callees: dict[str, list[tuple[float, str]]] = {}
    for edge in edges:
        if edge.certainty >= CERTAINTY and edge.end != edge.start and edge.end in functions:
            callees.setdefault(edge.start, []).append((-edge.certainty, edge.end))
    return functions, {key: [end for _, end in sorted(found)] for key, found in callees.items()}


def summaries_of(engine: Engine, contents: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Summaries of contents by key; those that the quality gate refuses are left out."""
    asked = [Pair("", "python", "function", key, content, "", 0, "") for key, content in contents]
    return {each.pair.name: each.answer.text for each in answers_of(engine, asked) if not each.refused}


def told(function: Function, callees: Sequence[str], summaries: dict[str, str]) -> str:
    """The content as the model reads it."""
    known = [(key, summaries[key]) for key in callees if summaries.get(key)]
    return with_context(callee_context(known, MOST), function.content)


@dataclass(frozen=True)
class Said:
    """What a model said of a function; what failed counts as refused, and a refused text scores 0."""

    text: str
    refused: bool
    bleu: float
    chrf: float
    rouge: float


def scores(engine: Engine, functions: Sequence[Function], contents: Sequence[str]) -> list[Said]:
    """What is said of each function when the model reads ``contents``."""
    asked = [
        Pair("", "python", "function", one.key, content, "", 0, one.reference)
        for one, content in zip(functions, contents, strict=True)
    ]
    found = {each.pair.name: each for each in answers_of(engine, asked)}
    result: list[Said] = []
    for one in functions:
        each = found.get(one.key)
        text = each.answer.text if each else ""
        if each is None or each.refused:
            result.append(Said(text, True, 0.0, 0.0, 0.0))
        else:
            was = one.reference
            result.append(Said(text, False, smoothed_bleu(was, text), chrf(was, text), rouge_l(was, text)))
    return result


def row(title: str, found: Sequence[Said], without: Sequence[Said]) -> str:
    """A row of the table: means with their 95 % intervals, and the differences from what was said without callees."""

    def mean(values: Iterable[float], form: str = ".1f") -> str:
        middle, low, high = (100 * each for each in interval(list(values)))
        return f"{middle:{form}} ({low:{form}} to {high:{form}})"

    pairs = list(zip(found, without, strict=True))
    return (
        f"| {title} | {len(found)} | {mean(each.bleu for each in found)} | {mean(each.chrf for each in found)} "
        f"| {mean(each.rouge for each in found)} | {mean((new.bleu - old.bleu for new, old in pairs), '+.1f')} "
        f"| {mean((new.chrf - old.chrf for new, old in pairs), '+.1f')} | {sum(each.refused for each in found)} |"
    )


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a Python package")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--quantization", default=ModelSettings().quantization)
    parser.add_argument("--count", type=int, default=150, help="functions that call others")
    parser.add_argument("--show", type=int, default=0, help="print this many summaries of each way")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store = CozoStore.open(DatabaseSettings(url=f"sqlite:///{scratch}/code.db"))
        functions, callees = functions_of(arguments.folder, store, Path(scratch) / "code")
    known = [one for key, one in functions.items() if callees.get(key) and 4 <= len(one.reference.split()) <= 40]
    chosen = random.Random(1).sample(known, min(arguments.count, len(known)))
    print(f"{len(functions)} functions and classes, {len(known)} of them documented callers, {len(chosen)} asked")
    settings = ModelSettings(path=arguments.model, quantization=arguments.quantization)
    engine = LocalEngine(find_model(settings), settings, InferenceSettings())
    engine.load()
    wanted = {key for one in chosen for key in callees[one.key][:MOST]}
    own = summaries_of(engine, ((key, functions[key].content) for key in sorted(wanted)))
    authors = {key: functions[key].reference for key in wanted}
    ways = {
        "nothing of its callees": [one.content for one in chosen],
        "their summaries by the same model": [told(one, callees[one.key], own) for one in chosen],
        "their authors' first sentences": [told(one, callees[one.key], authors) for one in chosen],
    }
    print(f"{len(wanted)} callees, {len(own)} of them with a summary")
    print("| told | n | BLEU-4 | chrF | ROUGE-L | difference of BLEU-4 | of chrF | refused |")
    print("|---|---|---|---|---|---|---|---|")
    without: list[Said] = []
    for title, contents in ways.items():
        found = scores(engine, chosen, contents)
        without = without or found
        print(row(title, found, without), flush=True)
        for one, said in list(zip(chosen, found, strict=True))[: arguments.show]:
            print(f"  {one.key}: {one.reference}\n    -> {said.text}")


if __name__ == "__main__":
    main()
