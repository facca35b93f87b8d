"""From a GGUF file's metadata to what a ``tokenizer.json`` holds: byte-level BPE, and BPE of SentencePiece."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.gguf_header import GgufHeader
from dobby_dagster.inference.models.gguf_vocabulary import LLAMA3, QWEN2, SINGLE_DIGITS, GgufVocabulary, read_items
from dobby_dagster.inference.models.model_source import TokenizerDefinition
from dobby_dagster.inference.models.tokenizer_files import MOST_ADDED_TOKENS

# Kinds of tokens, as ggml numbers them.
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_SPACE = "▁"
# SentencePiece's tokens have a few dozen characters; each part of each is looked up.
_LONGEST_PIECE = 256
# Llama 2's 32,000 tokens have 61,000.
MOST_MERGES = 2_000_000


def tokenizer_definition(vocabulary: GgufVocabulary, header: GgufHeader, file: Path) -> TokenizerDefinition:
    """The tokenizer of a checked file.

    Raises:
        ModelError: An array of the metadata is malformed.
    """
    tokens = read_items(header, file, "tokens")
    kinds = read_items(header, file, "token_type") or [_NORMAL] * len(tokens)
    ids = {token: index for index, token in enumerate(tokens)}
    special = {name: tokens[index] for name, index in vocabulary.special.items()}
    added = [
        {"id": index, "content": token, "special": kind != _USER_DEFINED, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False}
        for index, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if token and (kind in (_CONTROL, _USER_DEFINED) or index in vocabulary.ends)
    ]  # fmt: skip
    if len(added) > MOST_ADDED_TOKENS:
        raise ModelError(f"{file} has {len(added):,} added tokens; {MOST_ADDED_TOKENS:,} are allowed")
    if vocabulary.model == "gpt2":
        merges = [_halves(each) for each in read_items(header, file, "merges")]
        parts = _byte_level(vocabulary, ids, merges)
    else:
        scores = dict(zip(tokens, read_items(header, file, "scores"), strict=True))
        normal = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _NORMAL]
        parts = _sentence_piece(vocabulary, ids, merges_of(ids, scores, normal), special.get("unk_token"))
    parts["post_processor"] = (
        _begin(special["bos_token"], ids) if "bos_token" in special and vocabulary.begins_texts else None
    )
    found = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, **parts}
    return TokenizerDefinition(json.dumps(found), special, vocabulary.chat_template)


def merges_of(ids: dict[str, int], scores: dict[str, float], tokens: list[str]) -> list[list[str]]:
    """The merges that lead to ``tokens``, best first: what SentencePiece's scores say, as transformers derives them.

    Raises:
        ModelError: A token is too long, or there are too many merges.

    >>> merges_of({"a": 0, "b": 1, "ab": 2, "abb": 3}, {"ab": -1.0, "abb": -2.0}, ["ab", "abb"])
    [['a', 'b'], ['ab', 'b']]
    """
    merges: list[tuple[float, str, str]] = []
    for token in tokens:
        if len(token) > _LONGEST_PIECE:
            raise ModelError(f"a token has {len(token):,} characters; {_LONGEST_PIECE} are allowed")
        pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
        known = [(left, right) for left, right in pairs if left in ids and right in ids]
        merges += [(scores[token], *pair) for pair in sorted(known, key=lambda pair: (ids[pair[0]], ids[pair[1]]))]
        if len(merges) > MOST_MERGES:
            raise ModelError(f"the tokenizer has more than {MOST_MERGES:,} merges", hint="use another file")
    merges.sort(key=lambda merge: (merge[0], len(merge[1]), len(merge[2])), reverse=True)
    return [[left, right] for _, left, right in merges]


def _halves(merge: str) -> list[str]:
    """A merge is stored as two tokens with a space between; the first may begin with one."""
    left, _, right = merge[1:].partition(" ")
    return [merge[:1] + left, right]


def _byte_level(vocabulary: GgufVocabulary, ids: dict[str, int], merges: list[list[str]]) -> dict[str, Any]:
    split = vocabulary.split
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": not split}
    first: list[dict[str, Any]] = []
    if split:
        first = [{"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": False}]
    elif vocabulary.pre in SINGLE_DIGITS:
        first = [{"type": "Digits", "individual_digits": True}]
    return {
        "normalizer": {"type": "NFC"} if split == QWEN2 else None,  # as in Qwen2's tokenizer.json
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*first, level]},
        "decoder": level,
        "model": {"type": "BPE", "vocab": ids, "merges": merges, "ignore_merges": split == LLAMA3},
    }


def _sentence_piece(
    vocabulary: GgufVocabulary, ids: dict[str, int], merges: list[list[str]], unknown: str | None
) -> dict[str, Any]:
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    back = {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "}
    before, after = [], []
    if vocabulary.add_space_prefix:
        before = [{"type": "Prepend", "prepend": _SPACE}]
        after = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    model = {"type": "BPE", "vocab": ids, "merges": merges, "unk_token": unknown, "fuse_unk": True}
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*before, spaces]},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, *after]},
        "model": model | {"byte_fallback": True},
    }


def _begin(token: str, ids: dict[str, int]) -> dict[str, Any]:
    """Puts ``token`` before each text; a model with a chat template has it there."""
    first = {"SpecialToken": {"id": token, "type_id": 0}}
    texts = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    special = {token: {"id": token, "ids": [ids[token]], "tokens": [token]}}
    template = {"single": [first, texts[0]], "pair": [first, *texts], "special_tokens": special}
    return {"type": "TemplateProcessing", **template}
