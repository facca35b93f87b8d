"""The first sentence of a documentation text, as plain English, or nothing where it is of no use as a summary."""

from __future__ import annotations

import re
import textwrap

UNWANTED = re.compile(
    r"https?:|www\.|deprecated|copyright|licen[cs]e|todo|fixme|xxx|hack\b|>>>|::|@\w+|:param|:type|:return"
    r"|\bversionadded\b"
    r"|eslint|istanbul|nolint|noqa|pylint|prettier|inherit_?doc|pragma|\bsafety:|do not (use|edit)|auto-?generated"
    r"|generated (by|from)|for backwards? compatib|experimental",
    re.IGNORECASE,
)
# Sentences that say nothing without what they point at.
EMPTY = re.compile(
    r"(see|same as|as above|ditto|like|note|internal|private|overrid\w+|inherited|constructor|refer to|alias)\b"
    r"|(initiali[sz]e[sd]?|init|constructor|default constructor|creates? an? new instance)\W*$"
    r"|.{0,30}\b(above|below)\W*$",
    re.IGNORECASE,
)
ROLE = re.compile(r":[a-z:]+:`[~!]?([^`<]+?)(?:\s*<[^`]*>)?`")
LINK_TAG = re.compile(r"\{@(?:link|linkplain|linkcode|code|literal|value)\s+([^}|\s]+)[|\s]*([^}]*)\}")
# A link has a target, or is to a name, as in Rust; what else stands in brackets keeps them.
MARKDOWN_LINK = re.compile(
    r"(?<![\w\]])\[(?:([^\]]+)\](?:\([^)]*\)|\[[^\]]*\])|(`?[A-Za-z_][\w:.]*(?:\(\))?`?)\](?![(\[]))"
)
BANNER = re.compile(r"\A-*\s*Function:\s*\w+\s*Purpose:\s*|\A\W*FUNCTION:\s.*?\bDESCRIPTION:\s*", re.DOTALL)
RULE = re.compile(r"\A(?:[ \t]*[-=_*#~+][-=_*#~+ \t]{2,}(?:\n|\Z)|[ \t]*\n)+")
PARAMETERS = re.compile(r"\A(?:[ \t]*@[\w.]+[ \t]*:[^\n]*(?:\n(?![ \t]*@|[ \t]*(?:\n|\Z))[^\n]*)*(?:\n|\Z))+")
# What begins a part of a documentation that is no description.
SECTION = (
    r"(?:Arg(?:ument)?s?|(?:Input |Output )?Parameters?|Inputs?|Outputs?|Accepts|Returns?|Results?|Raises|Yields"
    r"|Usage|Examples?|Side effects?)[ \t]*:(?=\s)"
)
PARAGRAPH_END = re.compile(rf"\n\s*\n|\n\s*[@\\][a-z]|\n\s*[-*#] |\n\s*{SECTION}|\s*[-=_*#~+]{{4,}}(?:\s|/|$)")
LABEL = re.compile(r"\A(?:Purpose|Description|Function|Effects|Goal)[ \t]*:[ \t]*(?:-[ \t]*)?")
HTML = re.compile(r"</?(?:p|code|b|i|em|strong|tt|pre|a|br|ul|li|span|div)(?:\s[^>]*)?/?>", re.IGNORECASE)
DOXYGEN = re.compile(r"[\\@](?:brief|short|internal|private|public|protected|override|summary|description|desc)\b\s*")
# A sentence ends where a new one, or nothing, begins; not after e.g., i.e. and the like.
END = re.compile(r"(.+?(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)(?<!\bcf)(?<!\bno)[.!?])(?=\s+[A-Z`\"'(\[]|\s*$)")
COMMON = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "to",
        "in",
        "for",
        "is",
        "are",
        "and",
        "or",
        "if",
        "with",
        "this",
        "that",
        "from",
        "by",
        "on",
        "as",
        "be",
        "it",
        "its",
        "all",
        "into",
        "at",
        "not",
        "when",
        "whether",
    ]
)


def first_sentence(documentation: str, name: str = "") -> str | None:
    """The first sentence of ``documentation``, or None where it is of no use as a summary.

    Args:
        documentation: Without comment markers.
        name: Of what is documented: a sentence that begins with it, as Go's do, begins with its verb instead.
    """
    text = DOXYGEN.sub("", _without_heading(textwrap.dedent(documentation).strip(), name))
    text = " ".join(PARAGRAPH_END.split(LABEL.sub("", text), maxsplit=1)[0].split())
    text = ROLE.sub(r"\1", LINK_TAG.sub(lambda m: m[2] or m[1].lstrip("#"), text))
    text = HTML.sub("", MARKDOWN_LINK.sub(lambda m: m[1] or m[2], text))
    text = text.replace("``", "").replace("`", "").replace("**", "").strip()
    match = END.match(text)
    sentence = _without_name((match.group(1) if match else text).strip(), name)
    words = sentence.split()
    if not 3 <= len(words) <= 30 or not sentence.isascii() or UNWANTED.search(sentence) or EMPTY.match(sentence):
        return None
    if re.search(rf"\b{SECTION}", sentence):
        return None
    if not re.match(r"(?:A|An|[A-Z][a-z]+)\b", sentence) or re.search(r"[{}<>|\\=]|\(\s*$|[:,;]$", sentence):
        return None
    if len(words) >= 8 and not COMMON.intersection(word.lower() for word in words):
        return None
    return re.sub(r"\.?\s+\.$", ".", sentence if sentence.endswith((".", "!", "?")) else sentence + ".")


def _without_heading(text: str, name: str) -> str:
    """Text without what GTK-Doc, kernel-doc and banners put before the description: rules, the name, the parameters."""
    text = BANNER.sub("", RULE.sub("", text))
    if not name:
        return text
    called = rf"(?:(?:struct|union|enum)[ \t]+)?['\"]?{re.escape(_last(name))}(?:[ \t]*\([^)\n]*\))?['\"]?"
    named = rf"{called}[ \t]*(?:(?::|-{{1,3}})(?!\w)|$)[ \t]*"
    heading = re.match(named, text, re.IGNORECASE | re.MULTILINE)
    if heading is None:
        return text
    return PARAMETERS.sub("", RULE.sub("", text[heading.end() :].lstrip("\n"))).lstrip()


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1].rsplit("::", 1)[-1]


def _without_name(sentence: str, name: str) -> str:
    """``Read reads up to n bytes`` as ``Reads up to n bytes``, ``Client is a client`` as ``A client``."""
    last = _last(name)
    first, _, rest = sentence.partition(" ")
    if not last or first.rstrip("():") != last or not rest:
        return sentence[:1].upper() + sentence[1:]
    rest = re.sub(r"^(?:is|are)\s+(?=(?:a|an|the|any|one)\b)", "", rest)
    return rest[:1].upper() + rest[1:]
