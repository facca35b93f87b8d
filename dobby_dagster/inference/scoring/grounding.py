"""Whether an output is about the content that it summarizes."""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Za-z]{3,}")
_NUMBER = re.compile(r"(?<![\w.])\d[\d.,]*(?!\w)")
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# Words are compared by their first letters: "reads" with "reader", "computes" with "computation".
STEM = 4
# Characters of a content that are compared; words repeat after that.
LOOKED_AT = 20_000
LEAST_WORDS = 5
LEAST_OF_CONTENT = 4
LONG_NUMBER = 6
LEAST_NUMBERS = 3
# Changes between letters and digits in a word: hashes have more, words and names have not.
MOST_CHANGES = 4
_NAME = re.compile(r"\w{8,}")
_CHANGE = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
# Outputs without any of these are not in English, and not compared by words.
ENGLISH = frozenset(["the", "of", "and", "to", "for", "is", "are", "with", "from", "that", "this"])
# Words that fit any content.
_GENERAL = """
    abstract access action adds after allow answer applies argument array attribute base before begin block
    boolean build byte cache call change character check class clean clear client close code collection column
    command comment compare comput condition config configuration connect constant constructor contain content
    convert copy count create current data database date decode default define delete describe description
    dictionary directory disable display document element empty enable encode ending entry environment error
    evaluate event example exception execute exist export expression extract factory field file filter find flag
    float folder format function generat given global handle hash header helper hold identif image implement
    import include index information initial input insert instance instruction integer interface item iterat
    join key language length library line link list load local location lock log loop main manage manager map
    match matrix member memory message metadata method mode model modif module move multiple name network node
    note null number object open operation option order output package page pair parameter parse part pass path
    pattern perform point pointer position prepare print process produce program project property provide public
    query queue raise range read record reference region register release remove render replace report represent
    request require reset resource response result return root rule run sample save schema script search section
    select send sequence serial server service session set setting setup shape show sign simple single size sort
    source specif start state statement status step stop store stream string structure sub sum summar support
    system table tag task template test text thread time token tool tree trigger true tuple type unit update
    upload use user util valid value variable vector version view wait whether window word work wrap write
    writes xml yaml zero
"""
_GENERAL_STEMS = frozenset(word[:STEM] for word in _GENERAL.split())


def shares_no_word(text: str, content: str) -> bool:
    """Whether an English output of ``LEAST_WORDS`` or more has no word of ``content``, nor one that fits any."""
    words = _words(text)
    if len(words) < LEAST_WORDS or not ENGLISH & set(text.lower().split()):
        return False
    known = {word[:STEM] for word in _words(content[:LOOKED_AT])}
    if len(known) < LEAST_OF_CONTENT:
        return False
    return not any(word[:STEM] in known or word[:STEM] in _GENERAL_STEMS for word in words)


def grounded_share(text: str, content: str) -> float:
    """The share of the words of ``text`` that ``content`` contains, in [0, 1]; 1 where there are none to compare.

    >>> grounded_share("Reads the header of a file.", "def read_header(path): ...")
    0.6666666666666666
    """
    words = _words(text)
    known = {word[:STEM] for word in _words(content[:LOOKED_AT])}
    return sum(word[:STEM] in known for word in words) / len(words) if words else 1.0


def numbers_of(text: str, content: str) -> bool:
    """Whether an output is mostly numbers, or has a long one or a hash, that ``content`` does not contain."""
    numbers = [number.rstrip(".,") for number in _NUMBER.findall(text)]
    strange = [number for number in numbers if number not in content]
    if any(number.isdigit() and len(number) >= LONG_NUMBER for number in strange):
        return True
    if any(len(_CHANGE.findall(name)) >= MOST_CHANGES and name not in content for name in _NAME.findall(text)):
        return True
    return len(strange) >= LEAST_NUMBERS and len(strange) * 2 > len(re.findall(r"\w+", text))


def _words(text: str) -> list[str]:
    """Words of three letters or more in lower case, names split into their parts, without the words in ``ENGLISH``."""
    parts = (part.lower() for name in _WORD.findall(text.replace("_", " ")) for part in _PARTS.findall(name))
    return [part for part in parts if len(part) >= 3 and part not in ENGLISH]
