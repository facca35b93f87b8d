"""File names and anchors for names that are not ours: safe on every file system, and different for different names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

PAGES = "pages"
INDEX = "index.html"
ENDING = ".html"
# One name may have 255 bytes, and a whole path on Windows 260 characters.
_LONGEST_SEGMENT = 60
_LONGEST_PATH = 160
_SLUG = 24
_DIGITS = 20
_RESERVED = {"con", "prn", "aux", "nul", *(f"{device}{digit}" for device in ("com", "lpt") for digit in range(10))}
_CLEAN = re.compile(r"[a-z0-9_-][a-z0-9_.-]*")
# No identifier of the page's own begins so.
_CLEAN_ANCHOR = re.compile(r"(::|/)[A-Za-z0-9_.-]{1,120}")


def page_path(segments: Sequence[str], number: int = 1) -> str:
    """The file of a place, relative to the site's folder, with ``/`` between folders.

    Of lower-case letters, digits and ``_.-~`` only, so that two paths that differ do so on disks that ignore case, too,
    and no address needs an escape. What is anything else is named by its hash.

    Args:
        segments: The names on the way to the place; none for the root.
        number: Which page of the place, from 1.

    >>> page_path(["httpx", "_client.py"]), page_path(["httpx"], 2), page_path([])
    ('pages/httpx/_client.py.html', 'pages/httpx~2.html', 'index.html')
    >>> page_path(["README.md"])
    'pages/readme-md~b335630551682c19a781.html'
    """
    suffix = f"~{number}" if number > 1 else ""
    if not segments:
        return f"index{suffix}{ENDING}"
    path = "/".join(map(_file_name, segments))
    if len(path) > _LONGEST_PATH:
        path = f"~{_digest('/'.join(segments), 2 * _DIGITS)}"
    return f"{PAGES}/{path}{suffix}{ENDING}"


def anchor(place: Sequence[str], key: str) -> str:
    """The identifier of the record ``key`` on the page of ``place``, with which the key begins.

    >>> anchor(["httpx"], "httpx::Client.get"), anchor(["ids"], "ids/17"), anchor([], "17")
    ('::Client.get', '/17', '/17')
    >>> anchor(["a"], "a::b c")
    '~a6745895c8f31e21ea51'
    """
    rest = key[len("/".join(place)) :] if place else f"/{key}"
    return rest if _CLEAN_ANCHOR.fullmatch(rest) else f"~{_digest(rest)}"


def _file_name(segment: str) -> str:
    stem = segment.partition(".")[0]
    clean = _CLEAN.fullmatch(segment) and not segment.endswith((".", ENDING)) and stem not in _RESERVED
    if clean and len(segment) <= _LONGEST_SEGMENT:
        return segment
    slug = re.sub(r"[^a-z0-9_]+", "-", segment[: 4 * _SLUG].lower())[:_SLUG].strip("-")
    return f"{slug}~{_digest(segment)}"


def _digest(text: str, digits: int = _DIGITS) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
