"""Changes: the diff, and the subject that its author gave it (DEP-3, or a git message)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from training.corpus.kinds.found import found
from training.corpus.pair import Pair

BEGIN = re.compile(r"^(?:diff --git |Index: |--- )", re.MULTILINE)
SUBJECT = re.compile(r"^(?:Subject|Description): *(?P<text>.+(?:\n[ \t]+\S.*)*)", re.MULTILINE)
TAG = re.compile(r"\A(?:\[[^\]]*\]\s*)+")
AREA = re.compile(r"\A[\w./*,{} ()-]{1,40}:\s+(?=\S)")
# What a diff can't show.
OUTSIDE = re.compile(
    r"debian|backport|cherry|upstream|FTBFS|hurd|kfreebsd|ubuntu|bug|closes|lintian|commit|patch|version|revert|release"
    r"|bullseye|bookworm|sid\b|RHEL|fedora|suse|GHSA|\bissue|\d{4}",
    re.IGNORECASE,
)
LONGEST = 12_000


def patch(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield the diff of one patch file with its subject."""
    begin = BEGIN.search(text)
    if begin is None or len(text) - begin.start() > LONGEST:
        return
    head, diff = text[: begin.start()], text[begin.start() :]
    diff = re.sub(r"\n-- ?\n[\d.]+(?:\.\w+)*\n*\Z", "\n", diff)
    subject = SUBJECT.search(head)
    if subject is None:
        return
    plain = TAG.sub("", " ".join(subject["text"].split()))
    plain = AREA.sub("", plain)
    if OUTSIDE.search(plain):
        return
    pair = found(project, "diff", "diff", "", diff, plain, f"{subject[0]}\n\n", 0)
    if pair is not None:
        yield pair
