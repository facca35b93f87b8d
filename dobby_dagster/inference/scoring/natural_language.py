"""Whether a text is in another language than English, by its most frequent words."""

from __future__ import annotations

import re

# Characters that are looked at.
LOOKED_AT = 20_000
# Words without which there is hardly a sentence. Left out is what two languages share, and what is a keyword, an
# ordinary name or an abbreviation in code, such as "del", "os", "im", "det", "con", "MIT" and "per".
_ENGLISH = frozenset(
    """the of and to for is are with from that this it its by be or not which if when each at into""".split()  # noqa: SIM905
)
_OTHERS = {
    "German": """der die das den dem des ein eine einer eines einem einen und ist sind wird werden von vom für auf
        aus bei beim zum zur nicht oder auch als nach über sich dass wenn wie""",
    "French": "le la les une du sont dans avec qui que sur aux ce cette ses leur pas sous chaque",
    "Spanish": "el los las para por que una sus como cada desde",
    "Italian": "il gli di che sono della delle dei nel nella degli alla ogni",
    "Portuguese": "uma um não são pela pelo cada seu sua",
    "Dutch": "de het een voor niet zijn wordt naar bij uit aan elke",
    "Scandinavian": "och som är på ett till för og ikke af med den hver",
    "Polish": "nie się jest dla oraz przez jako",
}
_FUNCTION_WORDS = frozenset(word for words in _OTHERS.values() for word in words.split())
_WORD = re.compile(r"[^\W\d_]+")


def is_foreign(text: str, least: int = 2) -> bool:
    """Whether more words of ``text`` are of other languages than of English.

    Counted once each are frequent words of nine languages, and words with letters beyond ASCII; so a text in Greek is
    foreign, too. One such word makes no other language: it may be a name.

    Args:
        text: A sentence, or a whole content.
        least: How many different words of other languages there are at least.

    >>> is_foreign("Liest die Zeilen einer Datei."), is_foreign("Reads the rows of Müller."), is_foreign("Reads rows.")
    (True, False, False)
    """
    words = {word.lower() for word in _WORD.findall(text[:LOOKED_AT])}
    english = len(words & _ENGLISH)
    foreign = sum(word in _FUNCTION_WORDS or not word.isascii() for word in words)
    return foreign >= least and foreign > english
