"""Forms of outlines, compared by what a model makes of them: what a module or package is, without its documentation.

    python -m training.evaluation.outline_forms --model dobby-code-73m --count 48 FOLDER...

The reference is the first sentence of the module's docstring, which is taken away. The functions and classes of each
module are summarised first, by the same model. ``half`` is the share of summaries with a ROUGE-L of 0.5 or more, which
the confidence should equal.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from dobby_dagster.domain.settings import DEFAULT_MODEL, InferenceSettings, ModelSettings
from dobby_dagster.inference.content_room import content_room
from dobby_dagster.inference.engine import Engine
from dobby_dagster.inference.local.local_engine import LocalEngine
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.scoring.text_overlap import interval, rouge_l, smoothed_bleu
from dobby_dagster.ingest.documents.own_documentation import own_documentation
from dobby_dagster.ingest.file_splitting import split
from dobby_dagster.pipeline.outlines.outline_text import INDENT, Part, arranged, outline
from dobby_dagster.pipeline.outlines.signature import signature
from training.corpus.pair import Pair
from training.evaluation.answers import PROMPT, answers_of

Form = Callable[[Part, int], str]
PARTS, MODULES = 8, 6  # of a module, of a package


def name(part: Part, depth: int) -> str:
    """The declaration or the name alone."""
    return INDENT * depth + (signature(part.content, part.name) if part.content else part.name)


def colon(part: Part, depth: int) -> str:
    """``name: summary``."""
    return f"{name(part, depth)}: {part.summary}" if part.summary else name(part, depth)


def beside(part: Part, depth: int) -> str:
    """``name  # summary``."""
    return f"{name(part, depth)}  # {part.summary}" if part.summary else name(part, depth)


def above(part: Part, depth: int) -> str:
    """The summary as a comment above the name."""
    return f"{INDENT * depth}# {part.summary}\n{name(part, depth)}" if part.summary else name(part, depth)


def docstring(part: Part, depth: int) -> str:
    """The summary as the docstring of the name."""
    if not part.summary:
        return name(part, depth)
    return f'{name(part, depth)}:\n{INDENT * (depth + 1)}"""{part.summary}"""'


def summary(part: Part, depth: int) -> str:
    """The summary alone."""
    return part.summary or ""


FORMS: dict[str, Form] = {
    "names": name, "docstrings": docstring, "name: summary": colon, "name # summary": beside,
    "# summary above": above, "summaries": summary,
}  # fmt: skip


def first_sentence(documentation: str) -> str:
    """The first sentence of a docstring's first paragraph."""
    return re.split(r"(?<=[.!?])\s", " ".join(documentation.split("\n\n")[0].split()))[0]


def documented(folders: Sequence[Path], *, packages: bool) -> Iterator[tuple[Path, str, str]]:
    """Each documented module, or package of several modules: its path, its text, its first sentence."""
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        if (path.name == "__init__.py") is not packages or "/test" in str(path):
            continue
        try:
            with warnings.catch_warnings(action="ignore"):
                text = path.read_text()
                said = first_sentence(ast.get_docstring(ast.parse(text)) or "")
        except (OSError, ValueError, SyntaxError, RecursionError):
            continue
        if len(said.split()) >= 4 and len(said) <= 250:
            yield path, text, said


def parts_of(path: Path, text: str) -> list[Part]:
    """The first functions and classes of a module."""
    return [Part(piece.name, piece.kind, piece.content) for piece in split(path, text)[:PARTS]]


def summarized(engine: Engine, groups: Sequence[Sequence[Part]], contents: Sequence[str]) -> list[list[Part]]:
    """The same parts with summaries; ``contents`` are what is summarised of all of them, in one list."""
    texts = {each.pair.name: each.answer.text for each in answers_of(engine, pairs(contents)) if not each.refused}
    numbers = iter(range(len(contents)))
    return [[replace(part, summary=texts.get(str(next(numbers)))) for part in group] for group in groups]


def pairs(contents: Sequence[str], references: Sequence[str] = ()) -> list[Pair]:
    """Contents as pairs, named by their number."""
    wanted = references or [""] * len(contents)
    return [
        Pair("", "python", "module", str(number), content, "", 0, reference)
        for number, (content, reference) in enumerate(zip(contents, wanted, strict=True))
    ]


def row(engine: Engine, title: str, contents: Sequence[str], references: Sequence[str], shown: int) -> str:
    """A form's row: what it is, BLEU-4 with its interval, ROUGE-L, the share above a half, the mean confidence, refused."""
    found = answers_of(engine, pairs(contents, references))
    bleu = [0.0 if each.refused else smoothed_bleu(each.pair.summary, each.answer.text) for each in found]
    rouge = [0.0 if each.refused else rouge_l(each.pair.summary, each.answer.text) for each in found]
    mean, low, high = (100 * each for each in interval(bleu))
    sure = fmean(each.answer.confidence or 0.0 for each in found)
    half = fmean(each >= 0.5 for each in rouge)
    for each in found[:shown]:
        print(f"  {each.pair.summary}\n    -> {each.answer.text}")
    return (
        f"| {title} | {len(found)} | {mean:.1f} ({low:.1f} to {high:.1f}) | {100 * fmean(rouge):.1f} | {half:.0%} "
        f"| {sure:.2f} | {sum(each.refused for each in found)} |"
    )


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="of Python packages")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--count", type=int, default=48, help="modules, and packages")
    parser.add_argument("--show", type=int, default=0, help="print this many summaries of each form")
    arguments = parser.parse_args()
    settings = ModelSettings(path=arguments.model)
    engine = LocalEngine(find_model(settings), settings, InferenceSettings())
    engine.load()
    room = content_room(settings, InferenceSettings(), PROMPT)
    print("| form | n | smoothed BLEU-4 | ROUGE-L | half | confidence | refused |\n|---|---|---|---|---|---|---|")
    modules = sample(list(documented(arguments.folders, packages=False)), arguments.count)
    parts = [parts_of(path, text) for path, text, _ in modules]
    parts = summarized(engine, parts, [part.content for group in parts for part in group])
    said = [reference for _, _, reference in modules]
    for title, form in FORMS.items():
        contents = ["\n".join(arranged(group, form, room)) for group in parts]
        print(row(engine, f"modules: {title}", contents, said, arguments.show), flush=True)
    own = [
        outline(own_documentation(path, text), group, room)
        for (path, text, _), group in zip(modules, parts, strict=True)
    ]
    print(row(engine, "modules: with their own documentation", own, said, 0), flush=True)
    packages = sample(list(documented(arguments.folders, packages=True)), arguments.count)
    files = [sorted(path.parent.glob("*.py"))[:MODULES] for path, _, _ in packages]
    groups = [[Part(file.name, "file") for file in group if file.name != "__init__.py"] for group in files]
    texts = [
        (path, path.read_text(errors="replace")) for group in files for path in group if path.name != "__init__.py"
    ]
    outlines = [outline(own_documentation(path, text), parts_of(path, text), room) for path, text in texts]
    groups = summarized(engine, groups, outlines)
    for title, form in FORMS.items():
        contents = ["\n".join(arranged(group, form, room)) for group in groups]
        print(row(engine, f"packages: {title}", contents, [each[2] for each in packages], arguments.show), flush=True)
    names = [path.parent.name for path, _, _ in packages]
    contents = [outline("", group, room, name) for name, group in zip(names, groups, strict=True)]
    title = "packages: as they are"
    print(row(engine, title, contents, [each[2] for each in packages], arguments.show), flush=True)


def sample(found: list[tuple[Path, str, str]], count: int) -> list[tuple[Path, str, str]]:
    """``count`` of them, the same every time."""
    return random.Random(1).sample(found, min(count, len(found)))


if __name__ == "__main__":
    main()
