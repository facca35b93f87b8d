"""Whether a text is in another language than English, by its most frequent words."""

from __future__ import annotations

import re

# Characters that are looked at.
LOOKED_AT = 20_000
# Words without which there is hardly a sentence. Left out is what two languages share, and what is a keyword or an
# ordinary name in code, such as "del", "os", "com" and "et".
_ENGLISH = frozenset(
    """the of and to for is are with from that this it its by be or not which if when each at into""".split()  # noqa: SIM905
)
_OTHERS = {
    "German": """der die das den dem des ein eine einer eines einem einen und ist sind wird werden mit von vom für auf
        aus bei beim zum zur nicht oder auch als nach über sich dass wenn wie im""",
    "French": "le la les une du est sont dans avec qui que sur aux ce cette ses leur pas sous chaque",
    "Spanish": "el los las en con para por que una se sus como cada desde",
    "Italian": "il gli di che sono della delle dei nel nella degli alla ogni",
    "Portuguese": "uma um não são pela pelo cada seu sua",
    "Dutch": "de het een voor niet zijn wordt naar bij uit aan elke",
    "Scandinavian": "och det som är på ett till för og ikke af med den hver",
    "Polish": "nie się jest dla oraz przez jako",
}
_FUNCTION_WORDS = frozenset(word for words in _OTHERS.values() for word in words.split())
_WORD = re.compile(r"[^\W\d_]+")


def is_foreign(text: str, least: int = 1) -> bool:
    """Whether more words of ``text`` are of other languages than of English.

    Counted are frequent words of nine languages, and any word with letters beyond ASCII; so a text in Greek or Japanese
    is foreign, too. One without any such word is not.

    Args:
        text: A sentence, or a whole content.
        least: How many words of other languages there are at least.

    >>> is_foreign("Liest die Zeilen einer Datei."), is_foreign("Reads the rows of Müller."), is_foreign("Reads rows.")
    (True, False, False)
    """
    english = foreign = 0
    for word in _WORD.findall(text[:LOOKED_AT]):
        low = word.lower()
        if low in _ENGLISH:
            english += 1
        elif low in _FUNCTION_WORDS or not word.isascii():
            foreign += 1
    return foreign >= least and foreign > english
