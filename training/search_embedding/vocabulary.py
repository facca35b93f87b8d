"""The word pieces of the embedding, and its tokenizer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

UNKNOWN = "[UNK]"
PIECE = re.compile(r"(##)?[a-z0-9]+")
LONGEST_WORD = 48
# parseHTTPResponse2 is the words parse, http, response and 2.
_BORDERS = "(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"


def tokenizer(pieces: Sequence[str]) -> Tokenizer:
    """A WordPiece tokenizer of ``pieces``, whose identifiers are their places; identifiers are split into words.

    >>> tokenizer([UNKNOWN, "parse", "http", "res", "##ponse"]).encode("parseHTTPResponse()").tokens
    ['parse', 'http', 'res', '##ponse']
    """
    made = Tokenizer(
        models.WordPiece(
            {piece: place for place, piece in enumerate(pieces)},
            unk_token=UNKNOWN,
            max_input_chars_per_word=LONGEST_WORD,
        )
    )
    made.normalizer = normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Replace(Regex(_BORDERS), " "),
            normalizers.Replace(Regex(r"[\W_]+"), " "),
            normalizers.Lowercase(),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


def chosen(known: Iterable[str], texts: Iterable[str], seen: int, added: int) -> list[str]:
    """The pieces of ``known`` that code needs, and the most frequent words of ``texts`` beside them.

    Args:
        known: Pieces of the model that is distilled; those of other alphabets are left out.
        texts: Sentences and code.
        seen: A whole word stays if it occurs so often; parts of words stay in any case.
        added: How many words are added.
    """
    words = Counter[str]()
    split = tokenizer([UNKNOWN])
    for text in texts:
        words.update(split.normalizer.normalize_str(text).split())
    kept = [p for p in known if PIECE.fullmatch(p) and (p.startswith("##") or len(p) == 1 or words[p] >= seen)]
    held = set(kept)
    new = (word for word, _ in words.most_common() if word not in held and word.isascii() and word.isalpha())
    return [UNKNOWN, *kept, *(word for word, _ in zip(new, range(added), strict=False))]
