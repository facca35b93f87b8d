"""Sections of Markdown and reStructuredText: the section without its first sentence, and that sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePath

from training.corpus.kinds.found import found
from training.corpus.pair import Pair

MARKDOWN_HEADING = re.compile(r"^#{1,4} +(.+?) *#*$", re.MULTILINE)
UNDERLINED = re.compile(r"^(?P<title>\S[^\n]{2,80})\n(?P<mark>[=\-~^*#\"])(?P=mark){2,}[ \t]*$", re.MULTILINE)
# A sentence that leads on to something, or depends on what stood before, describes nothing.
DEPENDENT = re.compile(
    r"(?:to|if|note|for|first|now|then|also|however|but|let|here|see|there|this|these|that|it|they|when|once|after|before|as"
    r"|in|with|use|using|add|install|run|make sure|next|again|some|another|same|such|so|because|since|while|although|both"
    r"|changes?|fixed|added|released?|version|example)\b",
    re.IGNORECASE,
)
SENTENCE = re.compile(r"[A-Z`\[*](?:[^\n]|\n(?!\s*\n))*?(?<!e\.g)(?<!i\.e)(?<!etc)[.](?=\s)")
MIN_REST = 160
MOST_A_FILE = 12


def sections(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield the descriptive sections of one file."""
    markdown = PurePath(path).suffix.lower() in (".md", ".markdown")
    heading = MARKDOWN_HEADING if markdown else UNDERLINED
    language = "markdown" if markdown else "text"
    marks = list(heading.finditer(text)) if len(text) < 600_000 else []
    taken = 0
    for mark, after in pairwise([*marks, None]):
        if mark is None:
            return
        body = text[mark.end() : after.start() if after else len(text)].strip()
        title = mark.group(1).strip()
        sentence = SENTENCE.match(body)
        if sentence is None or DEPENDENT.match(body) or len(body) - sentence.end() < MIN_REST:
            continue
        head = f"{text[mark.start() : mark.end()].strip()}\n\n"
        documentation = body[: sentence.end()] + re.match(r"\s*", body[sentence.end() :])[0]  # type: ignore[index]
        rest = body[len(documentation) :]
        pair = found(project, language, "section", title, head + rest, documentation, documentation, len(head))
        if pair is not None and not _table(rest):
            taken += 1
            yield pair
        if taken >= MOST_A_FILE:
            return


def _table(text: str) -> bool:
    return text.count("|") > 20 or text.count("http") > 6 or text.lstrip().startswith(("<", "```"))
