"""Decodes a source file: by its byte-order mark, its declaration, or a detector of encodings."""

from __future__ import annotations

import codecs
import re
from pathlib import PurePath

from dobby_dagster.ingest.code.languages import language_of

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# PEP 263, and the same in Emacs, Vim and Ruby: `-*- coding: koi8-r -*-`, `vim: set fileencoding=cp1252 :`.
_DECLARED = re.compile(rb"coding[:=][ \t]*([-\w.]+)")
_SAMPLE = 50_000
# The encodings that the detector chooses from. Others decode anything, and would win on a few letters.
_DETECTED = ["cp932", "euc_jp", "gb18030", "big5", "cp949", "cp1251", "koi8_r", "cp1253", "cp1252"]
_ALONE = re.compile(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])")
_HIGH = re.compile(rb"[\x80-\xff]")


def decoded(path: PurePath, data: bytes) -> str | None:
    """The text of a file, with line feeds as line ends; None if it is binary.

    A byte-order mark decides; then what the first two lines declare, in a source file; then UTF-8 where it is valid;
    then what a detector makes of the letters beyond ASCII.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _by(encoding, data)
    if b"\0" in data:
        return _unmarked_utf16(data)
    declared = _declared(data) if language_of(path) is not None else ""
    for encoding in filter(None, (declared, "utf-8")):
        if (text := _by(encoding, data)) is not None:
            return text
    return _damaged_utf8(data) or _by(_detected(data), data) or _by("cp1252", data) or _by("latin-1", data)


def _by(encoding: str, data: bytes, errors: str = "strict") -> str | None:
    try:
        text = data.decode(encoding, errors)
    except (UnicodeError, LookupError):
        return None
    return None if "\0" in text else text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _declared(data: bytes) -> str:
    """The encoding that the first two lines declare; empty if it is not one that the detector knows.

    Python's other codecs (``punycode``, ``unicode_escape``, …) are not encodings of files.
    """
    from charset_normalizer.constant import IANA_SUPPORTED

    for line in data[:1_000].splitlines()[:2]:
        if found := _DECLARED.search(line):
            try:
                name = codecs.lookup(found[1].decode("ascii", "replace")).name.replace("-", "_")
            except LookupError:
                return ""
            return name if name in IANA_SUPPORTED or name.startswith("iso8859") else ""
    return ""


def _unmarked_utf16(data: bytes) -> str | None:
    """UTF-16 without a mark: nearly every second byte of Latin text is zero, and none of the others."""
    zeros = (data[0::2].count(0), data[1::2].count(0))
    if len(data) % 2 == 0 and max(zeros) > len(data) * 0.35 and min(zeros) == 0:
        return _by("utf-16-be" if zeros[0] else "utf-16-le", data)
    return None


def _damaged_utf8(data: bytes) -> str | None:
    """The text, if it is UTF-8 in which fewer than one in ten letters beyond ASCII is broken."""
    text = data.decode("utf-8", "replace")
    beyond = sum(not line.isascii() and sum(c > "\x7f" for c in line) for line in text.split("\n"))
    return _by("utf-8", data, "replace") if text.count("\ufffd") * 10 < beyond else None


def _detected(data: bytes) -> str:
    """The encoding, by the lines with letters beyond ASCII; isolated ones are taken as Western European."""
    from charset_normalizer import from_bytes

    sample = b"\n".join(line for line in data.splitlines() if not line.isascii())[:_SAMPLE]
    if len(_ALONE.findall(sample)) * 4 >= len(_HIGH.findall(sample)):
        return "cp1252"
    best = from_bytes(sample, cp_isolation=_DETECTED).best()
    return best.encoding if best else "cp1252"
