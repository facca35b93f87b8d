"""A model's tokenizer and chat template, without transformers, whose import takes seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer as Backend

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.model_folder import one_line
from dobby_dagster.inference.models.model_source import ModelSource, TokenizerDefinition
from dobby_dagster.inference.sandbox import chat_template, limited_process

# Tokenizers that passed their trial: what a tokenizer.json holds, by its digest or the revision of the model.
_TRIED: dict[str, str] = {}


@dataclass(frozen=True)
class Tokenizer:
    """Encodes and decodes texts as a ``tokenizer.json`` defines it, and renders messages as prompts.

    Attributes:
        backend: The tokenizer of the ``tokenizers`` library.
        data: The one for contents, in which every added token except runs of spaces counts as special.
        template: The chat template (Jinja); ``""`` where the model has none.
        special: Names of special tokens as templates see them, such as ``bos_token``, to their texts.
        trusted: Whether the template may be rendered in this process, since it is shipped with Dobby.
    """

    backend: Backend
    data: Backend
    template: str
    special: dict[str, str]
    trusted: bool

    def token(self, name: str) -> int | None:
        """The identifier of a special token, such as ``eos_token``; None where the model does not define it."""
        text = self.special.get(name)
        return None if text is None else self.backend.token_to_id(text)

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Tokens of a text; special tokens in it are recognized."""
        with _panics():
            return self.backend.encode(text, add_special_tokens=add_special_tokens).ids

    def plain(self, texts: Iterable[str]) -> list[list[int]]:
        """Tokens of texts as data: added tokens in them are not recognized, whether marked as special or not."""
        self.data.encode_special_tokens = True
        try:
            with _panics():
                return [encoding.ids for encoding in self.data.encode_batch_fast(list(texts), add_special_tokens=False)]
        finally:
            self.data.encode_special_tokens = False

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without special ones."""
        with _panics():
            return self.backend.decode(list(ids), skip_special_tokens=True)

    def prompts(self, texts: Sequence[tuple[str, str]]) -> list[str]:
        """System and user texts as rendered by the chat template, up to where the model continues.

        Raises:
            ModelError: The template is malformed, unsafe, takes too long or too much memory, or refuses the texts.
        """
        if self.trusted:
            return chat_template.render(self.template, self.special, texts)
        return list(_rendered(self.template, tuple(sorted(self.special.items())), tuple(texts)))


@contextmanager
def _panics() -> Iterator[None]:
    """A panic of the Rust library raises a BaseException, which would end the process.

    Raises:
        ModelError: Instead of it.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":
            raise
        raise ModelError(f"the tokenizer fails: {one_line(error)}", hint="copy the model again") from None


def load_tokenizer(source: ModelSource) -> Tokenizer:
    """The tokenizer of a checked model; tried in a sandboxed process first, unless it is shipped with Dobby.

    Raises:
        ModelError: It can't be loaded, or can't be converted to ``tokenizer.json``.
    """
    return tokenizer_of(source.tokenizer(), source.path, source.revision, trusted=source.shipped)


def tokenizer_of(found: TokenizerDefinition, path: Path, revision: str, *, trusted: bool) -> Tokenizer:
    """The tokenizer that a folder or file defines.

    Args:
        found: What it defines.
        path: The folder or file.
        revision: Of the model, by which a conversion is known.
        trusted: It is shipped with Dobby, and not tried first.

    Raises:
        ModelError: See :func:`load_tokenizer`.
    """
    definition = found.json if trusted else _tried(path, revision, found.json)
    try:
        with _panics():
            backend = Backend.from_str(definition)
    except ModelError:
        raise
    except Exception as error:  # the library raises bare Exception for a malformed file
        raise ModelError(f"{path}: the tokenizer can't be loaded: {one_line(error)}") from error
    backend.no_truncation()
    backend.no_padding()
    return Tokenizer(backend, _for_data(backend), found.template, found.special, trusted)


def _for_data(backend: Backend) -> Backend:
    """A tokenizer for contents: added tokens that are not marked as special, such as ``<tool_call>``, are so there.

    Runs of spaces, which some vocabularies add, are harmless and stay as they are.
    """
    added = backend.get_added_tokens_decoder().values()
    if all(token.special or token.content.isspace() for token in added):
        return backend
    definition = json.loads(backend.to_str())
    for token in definition["added_tokens"]:
        token["special"] = token["special"] or not token["content"].isspace()
    return Backend.from_str(json.dumps(definition))


def _tried(path: Path, revision: str, definition: str) -> str:
    """Try a tokenizer, once for each version; converted by transformers where it has no ``definition``."""
    version = hashlib.sha256(definition.encode()).hexdigest() if definition else revision
    if version not in _TRIED:
        question = {"folder": str(path), "definition": definition}
        # A conversion imports transformers, which takes seconds and gigabytes of address space.
        seconds, memory = (10, 4_000_000_000) if definition else (60, 8_000_000_000)
        what = f"{path}: the tokenizer"
        answer = limited_process.ask("tokenizer_trial", question, what, seconds=seconds, memory_bytes=memory)
        _TRIED[version] = definition or str(answer["converted"])
    return _TRIED[version]


@lru_cache(maxsize=256)
def _rendered(template: str, special: tuple[tuple[str, str], ...], texts: tuple[tuple[str, str], ...]) -> list[str]:
    question = {"template": template, "special": dict(special), "prompts": texts}
    answer = limited_process.ask("chat_template", question, "the chat template", seconds=3, memory_bytes=2_000_000_000)
    return [str(text) for text in answer["texts"]]
