"""Shell: scripts with a comment at their head, and functions with one above them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from training.corpus.kinds.found import found
from training.corpus.pair import Pair

SHEBANG = re.compile(r"\A#! ?/(?:usr/)?bin/(?:env +)?(?:ba|da|k|z)?sh\b[^\n]*\n")
HEAD = re.compile(r"(?:\s*\n)*(?P<comment>(?:^#(?!!)[^\n]*\n)+)", re.MULTILINE)
FUNCTION = re.compile(
    r"(?P<comment>(?:^[ \t]*#[^\n]*\n)+)(?P<code>^(?P<indent>[ \t]*)(?:function +)?(?P<name>[\w:-]+) *(?:\(\))?\s*\{\n(?:.*\n)*?(?P=indent)\}[^\n]*\n)",
    re.MULTILINE,
)
INIT = re.compile(r"### BEGIN INIT INFO\n.*?### END INIT INFO\n", re.DOTALL)
SHORT = re.compile(r"^# *(?:Short-)?Description: *([^\n]+)\n", re.MULTILINE)
LICENCE = re.compile(r"copyright|licen[cs]e|\(c\)|author|warranty|redistribut|\$Id|#+\s*\Z", re.IGNORECASE)


def is_script(text: str) -> bool:
    """Whether the text is a shell script by its first line."""
    return SHEBANG.match(text) is not None


def shell(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield the script with what its head says, and each of its functions with the comment above it."""
    if len(text) > 200_000:
        return
    whole = _script(project, text)
    if whole is not None:
        yield whole
    for match in FUNCTION.finditer(text):
        plain = _plain(match["comment"])
        name = match["name"]
        plain = re.sub(rf"\A{re.escape(name)}(?:\(\))?\s*(?:[-:]+|\n)?\s*", "", plain)
        if not LICENCE.search(plain):
            pair = found(project, "shell", "function", name, match["code"], plain, match["comment"], 0)
            if pair is not None:
                yield pair


def _script(project: str, text: str) -> Pair | None:
    shebang = SHEBANG.match(text)
    init = INIT.search(text)
    short = SHORT.search(init[0]) if init else None
    if init and short:
        code = text.replace(init[0], "", 1)
        return found(project, "shell", "script", "", code, short[1], init[0], min(init.start(), len(code)))
    begin = shebang.end() if shebang else 0
    while head := HEAD.match(text, begin):
        for block in re.split(r"^#[ \t]*\n|^#[-=#* \t]+\n", head["comment"], flags=re.MULTILINE):
            if len(block) > 15 and not LICENCE.search(block):
                plain = re.sub(r"\A[\w./-]+ *(?:--?|:) +", "", _plain(block))
                code = text[: head.start("comment")] + text[head.end() :]
                return found(project, "shell", "script", "", code, plain, head["comment"], head.start("comment"))
        begin = head.end()
    return None


def _plain(comment: str) -> str:
    return re.sub(r"^[ \t]*#+ ?", "", comment, flags=re.MULTILINE).strip("#-=* \n")
