"""The tokenizer: byte-level BPE on the words of code and sentences, with the prompt form as its chat template.

A word is the same tokens wherever it stands. ``palette`` in ``get_palette``, in ``getPalette`` and in "the palette" are
three spellings to an ordinary byte-level BPE, and a small model has to learn for every word on its own that they are
one. Here a text is normalised before it is cut: a word that joins what stands before it gets a space and a mark, a
capital before small letters a mark and its small letter. Decoding takes the marks away again, and gives back every text
on one line that does not begin with a space or hold the marks, which are private characters. So a token that begins
with a letter goes on with a word and never begins one: where the first word of a text had no space before it, a model
took the second piece of a rare word for the beginning of code ("guild" became "gustatic int").
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from training.corpus.pair import Pair

PAD, END, CODE, SUMMARY = SPECIAL = ["<|pad|>", "<|end|>", "<|code|>", "<|summary|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "<|code|>{{ message['content'] }}<|summary|>"
    "{% endif %}{% endfor %}"
)
JOINED, CAPITAL = "\ue010", "\ue011"


def _normalizer() -> normalizers.Normalizer:
    """``getPalette_x`` becomes `` get^ palette_+ x``, with ``CAPITAL`` for ^ and ``JOINED`` for +."""
    capitals = [
        normalizers.Replace(Regex(f"{letter}(?=[a-z])"), f"{CAPITAL} {letter.lower()}") for letter in ascii_uppercase
    ]
    # Not after the apostrophe of "don't".
    joined = normalizers.Replace(Regex(r"(?<=[^\p{L}\s])(?<!\p{L}')(?=\p{L})"), f"{JOINED} ")
    # A line begins with a word of its own; no summary has lines.
    lines = normalizers.Replace(Regex(r"(?<=[\t\n\r])(?=\p{L})"), " ")
    return normalizers.Sequence([*capitals, joined, lines, normalizers.Prepend(" ")])


def _decoder() -> decoders.Decoder:
    """What ``_normalizer`` did, undone; a mark without its word is left out."""
    capitals = [decoders.Replace(f"{CAPITAL} {letter.lower()}", letter) for letter in ascii_uppercase]
    marks = [decoders.Replace(mark, "") for mark in (f"{JOINED} ", CAPITAL, JOINED)]
    return decoders.Sequence([decoders.ByteLevel(), *capitals, *marks, decoders.Strip(" ", 1, 0)])


def train_tokenizer(pairs: Sequence[Pair], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of ``vocabulary`` tokens, digits single, trained on the beginnings of code and on summaries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = _normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = _decoder()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for pair in pairs for text in (pair.code[:1_200], pair.summary)), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[CODE, SUMMARY],
        clean_up_tokenization_spaces=False,
        model_max_length=256,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
