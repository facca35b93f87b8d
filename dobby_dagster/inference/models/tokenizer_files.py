"""A folder's tokenizer files, validated by schemas before a library reads them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.folder_files import (
    LARGEST_TOKENIZER_BYTES,
    digest,
    is_file,
    read_json,
    read_schema,
    read_text,
    validated,
)
from dobby_dagster.inference.models.model_config import TokenIds

TOKENIZER, SETTINGS, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
# Qwen2.5 has 22 added tokens, Llama 3 has 256; the library takes seconds for more than this.
MOST_ADDED_TOKENS = 10_000
Text = Annotated[str, Field(max_length=100_000)]


class _Added(BaseModel):
    id: NonNegativeInt
    content: Annotated[str, Field(min_length=1, max_length=1_000)]


class _Model(BaseModel):
    """BPE and WordPiece map tokens to identifiers, Unigram lists tokens in order."""

    vocab: dict[str, NonNegativeInt] | list[Any]


class _Tokenizer(BaseModel):
    model: _Model
    added_tokens: Annotated[list[_Added], Field(max_length=MOST_ADDED_TOKENS)] | None = None


class _Named(BaseModel):
    name: str
    template: Text


class TokenizerSettings(BaseModel):
    """The relevant fields of ``tokenizer_config.json`` or ``special_tokens_map.json``.

    >>> TokenizerSettings(eos_token="</s>", pad_token=None).special()
    {'eos_token': '</s>'}
    """

    model_config = ConfigDict(extra="allow")

    chat_template: Text | list[_Named] | dict[str, Text] | None = None

    def special(self) -> dict[str, str]:
        """Names of special tokens, such as ``eos_token``, to their texts."""
        found = {}
        for name, value in (self.model_extra or {}).items():
            text = value.get("content") if isinstance(value, dict) else value
            if name.endswith("_token") and isinstance(text, str) and text:
                found[name] = text
        return found

    def template(self) -> str:
        """The default chat template; ``""`` where there is none."""
        found = self.chat_template
        if isinstance(found, list):
            found = next((each.template for each in found if each.name == "default"), "")
        elif isinstance(found, dict):
            found = found.get("default", "")
        return found or ""


class _Generation(BaseModel):
    model_config = ConfigDict(strict=True)

    eos_token_id: TokenIds = []


def check_tokenizer(folder: Path, vocabulary: int) -> None:
    """Check that a folder has a tokenizer, whose tokens are within the model's vocabulary.

    Raises:
        ModelError: It has none, or it does not fit.
    """
    if not is_file(folder / TOKENIZER):
        if any(is_file(folder / name) for name in ("vocab.json", "tokenizer.model")):
            return
        raise ModelError(f"{folder} has no tokenizer", hint="expected tokenizer.json")
    largest = _largest(folder / TOKENIZER, digest(folder / TOKENIZER))
    if largest >= vocabulary:
        raise ModelError(
            f"{folder}: the tokenizer does not fit the model: its largest token is {largest:,}, "
            f"the model's vocabulary {vocabulary:,}",
            hint="use the tokenizer that the model was trained with",
        )


@lru_cache(maxsize=64)
def _largest(file: Path, version: bytes) -> int:
    """The largest token of a tokenizer; cached by the file's digest, since sensors ask at every tick."""
    found = read_json(file, LARGEST_TOKENIZER_BYTES)
    if not isinstance(found.get("model"), dict) or not found["model"].get("vocab"):
        raise ModelError(f"{file} is not a tokenizer: it holds no vocabulary", hint="copy it again")
    tokenizer = validated(_Tokenizer, found, file)
    vocab = tokenizer.model.vocab
    known = vocab.values() if isinstance(vocab, dict) else range(len(vocab))
    return max([*map(int, known), *(token.id for token in tokenizer.added_tokens or [])])


def read_definition(folder: Path) -> str:
    """The text of ``tokenizer.json``; ``""`` where the folder has none, and transformers has to convert others.

    Raises:
        ModelError: It can't be read.
    """
    return read_text(folder / TOKENIZER, LARGEST_TOKENIZER_BYTES) if is_file(folder / TOKENIZER) else ""


def read_special(folder: Path) -> dict[str, str]:
    """Special tokens by name, from both files that define them.

    Raises:
        ModelError: One of the files is malformed.
    """
    older = read_schema(TokenizerSettings, folder / "special_tokens_map.json").special()
    return older | read_schema(TokenizerSettings, folder / SETTINGS).special()


def read_template(folder: Path) -> str:
    """The chat template; ``""`` where the folder has none.

    Raises:
        ModelError: It can't be read.
    """
    if is_file(folder / TEMPLATE):
        return read_text(folder / TEMPLATE)
    return read_schema(TokenizerSettings, folder / SETTINGS).template()


def read_ends(folder: Path) -> list[int]:
    """Tokens that end an output, from ``generation_config.json``.

    Raises:
        ModelError: The file is malformed.
    """
    return read_schema(_Generation, folder / "generation_config.json").eos_token_id
