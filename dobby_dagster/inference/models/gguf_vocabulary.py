"""What a GGUF file's metadata says about its tokenizer, checked against the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.folder_files import validated
from dobby_dagster.inference.models.gguf_header import Array, GgufHeader, read_array
from dobby_dagster.inference.models.tokenizer_files import Text

_BEGIN, _TEMPLATE = "tokenizer.ggml.", "tokenizer.chat_template"
# Of a token or a merge, in bytes.
_LONGEST = 2_000
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
QWEN2 = _WORDS + r"|\p{N}" + _REST
LLAMA3 = _WORDS + r"|\p{N}{1,3}" + _REST
# How text is split before byte-level BPE, by llama.cpp's names: a regular expression; "" for that of GPT-2.
SPLITS = {
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), QWEN2),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "smaug-bpe"), LLAMA3),
    **dict.fromkeys(("gpt-2", "smollm", "starcoder", "refact"), ""),
}
SINGLE_DIGITS = ("smollm", "starcoder", "refact")
_Id = NonNegativeInt | None


class GgufVocabulary(BaseModel):
    """The keys below ``tokenizer.ggml``; arrays are left in the file.

    Attributes:
        model: ``gpt2`` for byte-level BPE, ``llama`` for BPE of SentencePiece.
        pre: How text is split before byte-level BPE.
        tokens: How many there are.
    """

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    model: Literal["gpt2", "llama"]
    pre: str = "default"
    tokens: int
    chat_template: Text = ""
    add_bos_token: bool | None = None
    add_space_prefix: bool = True
    bos_token_id: _Id = None
    eos_token_id: _Id = None
    eot_token_id: _Id = None
    eom_token_id: _Id = None
    unknown_token_id: _Id = None
    padding_token_id: _Id = None

    @property
    def split(self) -> str:
        """The regular expression that splits text; ``""`` for GPT-2's, and where none does."""
        return SPLITS.get(self.pre, "") if self.model == "gpt2" else ""

    @property
    def begins_texts(self) -> bool:
        """Whether the token for the begin of a text comes first."""
        by_default = self.model == "llama" or self.split == LLAMA3
        return by_default if self.add_bos_token is None else self.add_bos_token

    @property
    def ends(self) -> list[int]:
        """Tokens that end an output: of the text, of a turn, of a message."""
        return [each for each in (self.eos_token_id, self.eot_token_id, self.eom_token_id) if each is not None]

    @property
    def special(self) -> dict[str, int]:
        """Special tokens by the names that chat templates have for them."""
        ids = {"bos_token": self.bos_token_id, "eos_token": self.eos_token_id,
               "unk_token": self.unknown_token_id, "pad_token": self.padding_token_id}  # fmt: skip
        return {name: index for name, index in ids.items() if index is not None}


def read_vocabulary(header: GgufHeader, file: Path, vocabulary: int) -> GgufVocabulary:
    """The tokenizer's metadata, checked against the size of the model's ``vocabulary``.

    Raises:
        ModelError: It is missing, malformed, of an unknown kind, or does not fit the model.
    """
    found = {key.removeprefix(_BEGIN): value for key, value in header.metadata.items() if key.startswith(_BEGIN)}
    tokens = header.number_of_items(f"{_BEGIN}tokens")
    found |= {"tokens": tokens, "chat_template": header.metadata.get(_TEMPLATE, "")}
    read = validated(GgufVocabulary, found, file)
    if read.model == "gpt2" and read.pre not in SPLITS:
        hint = f"supported: {', '.join(SPLITS)}; or use a checkpoint in a folder"
        raise ModelError(f"{file}: {_BEGIN}pre = {read.pre!r} is not supported", hint=hint)
    for name in ("tokens", "merges" if read.model == "gpt2" else "scores"):
        if not header.number_of_items(_BEGIN + name):
            raise ModelError(f"{file} has no {_BEGIN}{name}", hint="use a file with a tokenizer")
    for name in ("scores", "token_type"):
        if header.number_of_items(_BEGIN + name) not in (0, tokens):
            raise ModelError(f"{file}: {_BEGIN}{name} does not have an item for each token", hint="copy it again")
    for largest, size in ((tokens - 1, vocabulary), (max([*read.ends, *read.special.values()], default=0), tokens)):
        if largest >= size:
            raise ModelError(
                f"{file}: the tokenizer does not fit the model: its largest token is {largest:,}, "
                f"the vocabulary {size:,}",
                hint="copy it again, or use another file",
            )
    return read


def read_items(header: GgufHeader, file: Path, name: str) -> list[Any]:
    """The items of an array below ``tokenizer.ggml``; empty where it is absent.

    Raises:
        ModelError: A text in it is too long, or not UTF-8.
    """
    found = header.metadata.get(_BEGIN + name)
    return read_array(file, found, _LONGEST) if isinstance(found, Array) else []
