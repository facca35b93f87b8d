"""An outline as text: what a file or package says of itself, and its parts with their summaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from dobby_dagster.domain.outlines import PACKAGE_HEADING
from dobby_dagster.pipeline.outlines.signature import own_name, signature

CODE_KINDS = ("function", "method", "class")
PLACES = ("file", "package", "text")
LONGEST_SUMMARY = 160  # characters of a summary in an outline
CUT = "…"
INDENT = "    "


@dataclass(frozen=True, slots=True)
class Part:
    """A function, class or section of a file, or a file or package of a package.

    Attributes:
        name: Qualified in the file, or the file's or package's own name; empty for a text before the first section.
        kind: As the record's content type.
        content: Its source code; empty for a file or package.
        summary: Its summary; None if it has none.
    """

    name: str
    kind: str
    content: str = ""
    summary: str | None = None


def outline(documentation: str, parts: Sequence[Part], room: int, package: str = "") -> str:
    """The outline of ``parts``, in their order: each one's declaration or name, and its summary.

    Of too many parts the most telling stay: classes and public functions before methods, and those before what is
    private. The same parts give the same text.

    Args:
        documentation: What the file or package says of itself.
        parts: In the order of the source.
        room: Characters, at most, beside the documentation.
        package: The package's name; empty of a file.

    >>> parts = [Part("A", "class", "class A: ...", "Adds."), Part("A.f", "method", "def f(self): 1")]
    >>> outline("Sums.", parts, 500).replace('"', "'").splitlines()
    ["'''Sums.'''", 'class A: Adds.', '    def f(self)']
    """
    about = [f"{PACKAGE_HEADING}{package}"] if package else []
    about += [_quoted(documentation.strip())] if documentation.strip() else []
    return "\n".join([*about, *arranged(parts, text_of, room)])


def arranged(parts: Sequence[Part], form: Callable[[Part, int], str], room: int) -> list[str]:
    """The texts of the most telling parts that fit, in the order of the source; the last is ``CUT`` if not all do.

    Args:
        parts: In the order of the source; functions in functions are left out.
        form: The text of a part in as many classes.
        room: Characters, at most.
    """
    names = {part.name: part.kind for part in parts}
    placed = [(part, depth) for part in parts if (depth := _depth(part.name, names)) is not None]
    texts = [form(part, depth) for part, depth in placed]
    order = sorted(range(len(placed)), key=lambda number: (_rank(*placed[number]), number))
    used = accumulate(len(texts[number]) + 1 for number in order)
    fitting = sorted(number for number, length in zip(order, used, strict=True) if length <= room)
    return [*(texts[number] for number in fitting), *([CUT] if len(fitting) < len(texts) else [])]


def text_of(part: Part, depth: int) -> str:
    """The declaration of a part in ``depth`` classes, or a file's or package's name, and its summary.

    The forms were measured: as a docstring of its part, a summary is taken for that of the whole.
    """
    name = signature(part.content, part.name) if part.kind in CODE_KINDS else part.name
    mark = "  # " if part.kind in PLACES else ": "
    return INDENT * depth + mark.join(filter(None, (name, _shortened(" ".join((part.summary or "").split())))))


def _depth(name: str, names: Mapping[str, str]) -> int | None:
    """In how many classes a part is; None if it is in a function."""
    depth, scope = 0, name
    while "." in scope:
        scope = scope.rpartition(".")[0]
        kind = names.get(scope)
        if kind in ("function", "method"):
            return None
        depth += kind == "class"
    return depth


def _rank(part: Part, depth: int) -> tuple[bool, int]:
    """How telling a part is: what is ranked lower is left out first."""
    own = own_name(part.name) if part.kind in CODE_KINDS else part.name
    return own.startswith("_"), depth + (part.kind != "class")


def _quoted(text: str) -> str:
    return '"""{}"""'.format(text.replace('"""', "'"))


def _shortened(text: str) -> str:
    if len(text) <= LONGEST_SUMMARY:
        return text
    return text[:LONGEST_SUMMARY].rpartition(" ")[0] + CUT
