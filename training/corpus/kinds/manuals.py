"""Manual pages: their text, and the line that says what the program, call or file is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from training.corpus.kinds.found import found
from training.corpus.pair import Pair

MAN_NAME = re.compile(
    r"^\.SH +\"?NAME\"?\s*\n(?P<names>.+?)\s+(?:\\?-+|\\\(em|\\\(en)\s+(?P<text>.+?)\n(?=\.)", re.MULTILINE | re.DOTALL
)
MDOC_NAME = re.compile(r"^\.Nd +\"?(?P<text>.+?)\"?\n", re.MULTILINE)
POD_NAME = re.compile(r"^=head1 NAME\s+(?P<names>[^\n]+?)\s+-+\s+(?P<text>[^\n]+(?:\n[^\n=]+)?)\n\n", re.MULTILINE)
MACRO = re.compile(
    r"^\.(?:TH|Dd|Dt|Os|so|\\\"|'\\\"|if|ie|el|de|ds|nr|tr|rm|hy|ad|nh|fi|nf|in|br|sp|ne|IX)\b.*\n|^\.\.\n|^\.?'?\\\".*\n",
    re.MULTILINE,
)
REQUEST = re.compile(r"^\.(SH|SS|Sh|Ss) +\"?([^\"\n]*)\"?\n", re.MULTILINE)
OTHER = re.compile(r"^\.[A-Za-z]{1,4}\b ?", re.MULTILINE)
ESCAPE = re.compile(r"\\[\^|:%]|\\f[BIRP1-4]|\\f\([A-Z]{2}|\\&|\\/|\\,|\\c|\\s[-+]?\d")


def manual(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield the page as plain text without its NAME section, and what that says."""
    if len(text) > 400_000:
        return
    match = MAN_NAME.search(text) or MDOC_NAME.search(text) or POD_NAME.search(text)
    if match is None:
        return
    said = plain(match["text"])
    after = text[match.end() :]
    body = re.sub(r"^=head\d +", "", plain(after), flags=re.MULTILINE).strip()
    body = re.sub(r"\n{3,}", "\n\n", body)
    if len(body) > 300:
        names = plain(match.groupdict().get("names") or "")
        pair = found(project, "text", "manual", "", body, said, f"NAME\n    {names} - {said}\n\n", 0)
        if pair is not None and len(names) < 60:
            yield pair


def plain(text: str) -> str:
    """The text of a page without its macros."""
    text = REQUEST.sub(r"\n\2\n", MACRO.sub("", text))
    text = re.sub(r"^\.(?:PP|P|LP|TP|IP|HP|Pp|RS|RE|El|Bl|Pp)\b.*\n", "\n", text, flags=re.MULTILINE)
    text = ESCAPE.sub("", OTHER.sub("", text))
    text = re.sub(r"[BICFLEX]<<* *([^<>]*?) *>+", r"\1", text)
    for escape, character in (
        ("\\-", "-"),
        ("\\(aq", "'"),
        ("\\(dq", '"'),
        ("\\(lq", '"'),
        ("\\(rq", '"'),
        ("\\e", "\\"),
        ("\\ ", " "),
        ("\\~", " "),
    ):
        text = text.replace(escape, character)
    return re.sub(r"\\\((?:co|em|en|bu|cq|oq)|\\\*\([A-Za-z]{2}", "", text)
