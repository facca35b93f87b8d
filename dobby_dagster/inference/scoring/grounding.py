"""Whether an output is about the content that it summarizes."""

from __future__ import annotations

import re

from dobby_dagster.inference.scoring.natural_language import is_foreign

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
# Words of another language, by which a content is not in English.
LEAST_FOREIGN = 5
# Changes between letters and digits in a word: hashes have more, words and names have not.
MOST_CHANGES = 4
_NAME = re.compile(r"\w{8,}")
_CHANGE = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
# Outputs without any of these are not in English, and not compared by words.
ENGLISH = frozenset(["the", "of", "and", "to", "for", "is", "are", "with", "from", "that", "this"])
_NAMED = re.compile(r"[A-Za-z]\w*")
_LAST = re.compile(r"[A-Za-z]\w*\Z")
_INSIDE = re.compile(r"(?<=\w)[A-Z0-9]")
_WHOLE = re.compile(r"[A-Za-z0-9_]+")
_PIECES = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_JOINTS = re.compile(r"[^a-z0-9]+")
# A list of what a document consists of, up to the next of its names: "with the keys name, port and".
_LISTING = re.compile(r"\b(?:with the keys|and the elements) (?:[^\s,]+(?:, | and )|[^\s,]+[-.:])*\Z")
# Words that stand in such a list and are none of its names.
_BESIDE_NAMES = frozenset(["and", "others", "in", "as"])
# Names that any text may have: abbreviations of the field, constants, languages, systems.
_ORDINARY = """
    and api ascii boolean c cpu css csv dns english eof false gpu gui html http https i id io ip ipv4 ipv6 java
    javascript json linux md5 mime none not null ok or os posix python regex rgb sha1 sha256 sql ssl tcp tls true udp
    ui unicode unix uri url utc utf utf8 uuid windows xml xor yaml
"""
ORDINARY_NAMES = frozenset(_ORDINARY.split())
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
    words = words_of(text)
    if len(words) < LEAST_WORDS or not ENGLISH & set(text.lower().split()):
        return False
    known = {word[:STEM] for word in words_of(content[:LOOKED_AT])}
    if len(known) < LEAST_OF_CONTENT:
        return False
    return not any(word[:STEM] in known or word[:STEM] in _GENERAL_STEMS for word in words)


def grounded_share(text: str, content: str) -> float:
    """The share of the words of ``text`` that ``content`` contains, in [0, 1]; 1 where there are none to compare.

    >>> grounded_share("Reads the header of a file.", "def read_header(path): ...")
    0.6666666666666666
    """
    words = words_of(text)
    known = {word[:STEM] for word in words_of(content[:LOOKED_AT])}
    return sum(word[:STEM] in known for word in words) / len(words) if words else 1.0


def unsupported_names(text: str, content: str) -> tuple[str, ...]:
    """The names in ``text`` that do not stand in ``content``, and are no ordinary words.

    A name is a word with a capital inside, an underscore or a digit, one that begins with a capital within a
    sentence, or one in a list of keys or elements. Case, underscores and a plural *s* make no difference. In other
    languages than English a capital at the beginning makes no name, see :func:`names_are_capitalised`.

    >>> unsupported_names("Return the DataFrame of an HTTP request to Flask.", "def frame(request): ...")
    ('DataFrame', 'Flask')
    >>> unsupported_names("A YAML mapping with the keys name, port and host.", "name: a, port: 80")
    ('host',)
    >>> unsupported_names("Liest die Datei mit dem DataFrame.", "def read(path): ...")
    ('DataFrame',)
    """
    found = _unsupported(text, content, capitals=True)
    return found if not found or names_are_capitalised(text, content) else _unsupported(text, content, capitals=False)


def names_are_capitalised(text: str, content: str) -> bool:
    """Whether a capital at the beginning of a word makes it a name: only where both are in English.

    German writes all nouns so; and in a translation names are other words than in the content.
    """
    return not is_foreign(text) and not is_foreign(content, LEAST_FOREIGN)


def _unsupported(text: str, content: str, *, capitals: bool) -> tuple[str, ...]:
    known = known_text(content)
    names = (match[0] for match in _NAMED.finditer(text) if _is_name(match[0], text[: match.start()], capitals))
    # Names are taken apart by ASCII letters; others are looked for as they stand.
    foreign = (name for name in names if (name.isascii() or name not in content) and not stands_in(name, known))
    return tuple(dict.fromkeys(foreign))


def known_text(content: str) -> str:
    """``content`` as names are searched in it: its words in lower case, each part of a name after a bar.

    >>> known_text("def readRows(max_rows=2)")
    '|def |read|rows |max|rows |2'
    """
    return " ".join(
        "".join(f"|{part.lower()}" for part in _PIECES.findall(word)) for word in _WHOLE.findall(content[:LOOKED_AT])
    )


def stands_in(name: str, known: str, *, unfinished: bool = False) -> bool:
    """Whether a name, or parts of a name one after the other, stand in a :func:`known_text`, or are ordinary.

    Args:
        name: As it stands in an output.
        known: Of the content.
        unfinished: It is enough that it may become a name that does.

    >>> stands_in("RowReader", "|row|reader|factory"), stands_in("Rows", "|read|row"), stands_in("Red", "|required")
    (True, True, False)
    """
    low = _JOINTS.sub("", name.lower())
    if low in ORDINARY_NAMES or low.removesuffix("s") in ORDINARY_NAMES:
        return True
    if unfinished and any(each.startswith(low) for each in ORDINARY_NAMES):
        return True
    forms = (low,) if unfinished else (low, low.removesuffix("s"))
    end = "" if unfinished else r"s?(?=\||\s|\Z)"
    return any(form and re.search(r"\|" + r"\|?".join(form) + end, known) is not None for form in forms)


def last_name(text: str, *, capitals: bool = True) -> str:
    """The word that ``text`` ends with, if it is a name; else ``""``.

    Args:
        text: An output so far.
        capitals: A capital at the beginning of a word, within a sentence, makes it a name.

    >>> last_name("Return the DataF"), last_name("Return the data"), last_name("Return")
    ('DataF', '', '')
    """
    last = _LAST.search(text)
    return last[0] if last and _is_name(last[0], text[: last.start()], capitals) else ""


def _is_name(word: str, before: str, capitals: bool) -> bool:
    if _is_listed(word, before):
        return True
    before = before.rstrip()
    begins = not before or before[-1] in ".!?:"
    is_capitalised = capitals and word[0].isupper() and not begins
    return len(word) > 1 and ("_" in word or bool(_INSIDE.search(word)) or is_capitalised)


def _is_listed(word: str, before: str) -> bool:
    return _LISTING.search(before) is not None and word not in _BESIDE_NAMES | ENGLISH


def numbers_of(text: str, content: str) -> bool:
    """Whether an output is mostly numbers, or has a long one or a hash, that ``content`` does not contain."""
    numbers = [number.rstrip(".,") for number in _NUMBER.findall(text)]
    strange = [number for number in numbers if number not in content]
    if any(number.isdigit() and len(number) >= LONG_NUMBER for number in strange):
        return True
    if any(len(_CHANGE.findall(name)) >= MOST_CHANGES and name not in content for name in _NAME.findall(text)):
        return True
    return len(strange) >= LEAST_NUMBERS and len(strange) * 2 > len(re.findall(r"\w+", text))


def words_of(text: str) -> list[str]:
    """Words of three letters or more in lower case, names split into their parts, without the words in ``ENGLISH``."""
    parts = (part.lower() for name in _WORD.findall(text.replace("_", " ")) for part in _PARTS.findall(name))
    return [part for part in parts if len(part) >= 3 and part not in ENGLISH]
