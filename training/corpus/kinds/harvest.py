"""What real code writes to logs and raises: the words that made-up logs and tracebacks are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePath

LOGGED = re.compile(
    r"\b(?:log|LOG|logger|_logger|logging)\.(?P<level>debug|info|warning|error|critical|exception)\(\s*_?\(?[fr]?(?P<q>[\"'])(?P<text>[^\"'\n\\{}]{12,110})(?P=q)\s*[,)%]"
)
RAISED = re.compile(
    r"raise (?P<type>[A-Z]\w*(?:Error|Exception|Warning|Exit|Interrupt|NotFound|Timeout))\(\s*(?P<q>[\"'])(?P<text>[^\"'\n\\{}<>|=]{8,80})(?P=q)\s*\)"
)
DEFINED = re.compile(r"^(?P<indent> *)def (?P<name>\w+)\(", re.MULTILINE)
CALL = re.compile(r"^ {4,16}(?P<line>(?:return |[\w, ]+ = )?[\w.]+\([^\n()]{0,50}\))$", re.MULTILINE)
MOST_A_FILE = 12


@dataclass
class Harvest:
    """Messages with their level and module, errors with their text, and functions with a line of theirs."""

    messages: list[tuple[str, str, str]] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)
    frames: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, path: str, text: str) -> None:
        """Take in what one Python file has."""
        module = ".".join(PurePath(path).with_suffix("").parts[-3:])
        for match in list(LOGGED.finditer(text))[:MOST_A_FILE]:
            if re.match(r"[A-Z]", match["text"]):
                self.messages.append((match["level"], module, match["text"]))
        for match in list(RAISED.finditer(text))[:MOST_A_FILE]:
            self.errors.append((match["type"], match["text"].rstrip(". :%s")))
        for match in list(DEFINED.finditer(text))[:MOST_A_FILE]:
            line = CALL.search(text, match.end(), match.end() + 800)
            if line and not match["name"].startswith("__"):
                self.frames.append(("/".join(PurePath(path).parts[-3:]), match["name"], line["line"]))

    def extend(self, others: Iterable[Harvest]) -> None:
        """Take in what other harvests have."""
        for other in others:
            self.messages += other.messages
            self.errors += other.errors
            self.frames += other.frames
