"""Configuration with a description of its own: INI-like files, TOML manifests, desktop entries, units, control files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import PurePath

from training.corpus.kinds.found import found
from training.corpus.pair import Pair

# The line that describes, by the file's ending.
LINES = {
    ".desktop": re.compile(r"^Comment=(.+)\n", re.MULTILINE),
    ".service": re.compile(r"^Description=(.+)\n", re.MULTILINE),
    ".socket": re.compile(r"^Description=(.+)\n", re.MULTILINE),
    ".timer": re.compile(r"^Description=(.+)\n", re.MULTILINE),
    ".toml": re.compile(r'^description *= *"(.+)"\n', re.MULTILINE),
    ".cfg": re.compile(r"^(?:description|summary) *= *(.+)\n", re.MULTILINE),
    ".pc": re.compile(r"^Description: *(.+)\n", re.MULTILINE),
}
LANGUAGES = {".toml": "toml"}
STANZA = re.compile(r"^Package: (?P<name>\S+)\n(?:.+\n)*", re.MULTILINE)
SYNOPSIS = re.compile(r"^Description: *(?P<line>.+)\n(?P<more>(?: .*\n)*)", re.MULTILINE)
# An option of a commented configuration, set or commented out.
OPTION = re.compile(r"[#;]?[A-Za-z][\w.-]*(?: *[=:] *| +)\S[^\n]{0,200}\n?\Z")
WORDS = re.compile(r"[#;] +[A-Z][^=\n]*[a-z]{2}")
MOST_OPTIONS = 8
MOST_A_FILE = 40


def described_files(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield a configuration file with the line that describes it."""
    suffix = PurePath(path).suffix
    line = LINES[suffix].search(text)
    if line is None or len(text) > 20_000:
        return
    language = LANGUAGES.get(suffix, "ini")
    code = text[: line.start()] + text[line.end() :]
    kind = "configuration"
    pair = found(project, language, kind, PurePath(path).stem, code, line[1], line[0], line.start())
    if pair is not None:
        yield pair


def control_stanzas(project: str, text: str) -> Iterator[Pair]:
    """Yield the packages of a ``debian/control`` file with what they say of themselves in a line."""
    for stanza in STANZA.finditer(text):
        synopsis = SYNOPSIS.search(stanza[0])
        if synopsis is None:
            continue
        code = stanza[0].replace(synopsis[0], "")
        pair = found(project, "ini", "configuration", stanza["name"], code, synopsis["line"], synopsis[0], len(code))
        if pair is not None:
            yield pair


def options(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield runs of options of a commented configuration file with the comment above them."""
    lines = text.splitlines(keepends=True) if len(text) < 500_000 else []
    taken = index = 0
    while index < len(lines) and taken < MOST_A_FILE:
        comment, index = _run(lines, index, lambda line: line.startswith(("# ", "; ", "#\n")))
        if not comment:
            index += 1
            continue
        code, index = _run(lines, index, lambda line: OPTION.match(line) is not None)
        plain = re.sub(r"^[#;] ?", "", "".join(comment), flags=re.MULTILINE)
        if code and WORDS.match(comment[0]):
            pair = found(project, "ini", "configuration", "", "".join(code[:MOST_OPTIONS]), plain, "".join(comment), 0)
            if pair is not None:
                taken += 1
                yield pair


def _run(lines: list[str], begin: int, belongs: Callable[[str], bool]) -> tuple[list[str], int]:
    end = begin
    while end < len(lines) and belongs(lines[end]):
        end += 1
    return lines[begin:end], end
