"""A model folder's tokenizer and chat template, without importing transformers: that alone would take a second."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from tokenizers import Tokenizer as Backend

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.models.folder_files import digest
from dobby_dagster.inference.models.model_folder import ModelFolder, one_line
from dobby_dagster.inference.models.tokenizer_files import TOKENIZER, read_special, read_template
from dobby_dagster.inference.sandbox import chat_template, limited_process

# Tokenizers that were tried in this process, by the digest of their files; the converted ones with what they became.
_CONVERTED: dict[str, str] = {}


@dataclass(frozen=True)
class Tokenizer:
    """Texts to tokens and back, exactly as ``tokenizer.json`` has it, and messages to prompts.

    Attributes:
        backend: The library's tokenizer.
        data: The one for contents, in which every added token but runs of spaces counts as special.
        template: The chat template (Jinja); ``""`` where the folder has none.
        special: Names of special tokens as templates see them, such as ``bos_token``, to their texts.
        trusted: Whether the template may be rendered in this process, since it comes with Dobby.
    """

    backend: Backend
    data: Backend
    template: str
    special: dict[str, str]
    trusted: bool

    def token(self, name: str) -> int | None:
        """The identifier of a special token, such as ``eos_token``; None where there is none."""
        text = self.special.get(name)
        return None if text is None else self.backend.token_to_id(text)

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Tokens of a text in which special tokens are read as such."""
        with _panics():
            return self.backend.encode(text, add_special_tokens=add_special_tokens).ids

    def plain(self, texts: Iterable[str]) -> list[list[int]]:
        """Tokens of texts as data: no added token is read as such, whether it is called special or not."""
        self.data.encode_special_tokens = True
        try:
            with _panics():
                return [encoding.ids for encoding in self.data.encode_batch_fast(list(texts), add_special_tokens=False)]
        finally:
            self.data.encode_special_tokens = False

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones left out."""
        with _panics():
            return self.backend.decode(list(ids), skip_special_tokens=True)

    def prompts(self, texts: Sequence[tuple[str, str]]) -> list[str]:
        """System and user texts in the words of the chat template, up to where the model is to answer.

        Raises:
            ModelError: The template is malformed, unsafe, takes too long or too much memory, or refuses the texts.
        """
        if self.trusted:
            return chat_template.render(self.template, self.special, texts)
        return list(_rendered(self.template, tuple(sorted(self.special.items())), tuple(texts)))


@contextmanager
def _panics() -> Iterator[None]:
    """The library is written in Rust; where that panics it raises what is no Exception, and would end the process.

    Raises:
        ModelError: In its place.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":
            raise
        raise ModelError(f"the tokenizer fails: {one_line(error)}", hint="copy the folder again") from None


def load_tokenizer(folder: ModelFolder) -> Tokenizer:
    """The tokenizer of a checked folder; tried in another process first, unless it comes with Dobby.

    Raises:
        ModelError: It can't be loaded, or is no fast one.
    """
    file = folder.path / TOKENIZER
    whole = file.is_file()
    converted = "" if folder.shipped else _tried(folder, digest(file).hex() if whole else folder.revision, not whole)
    try:
        with _panics():
            backend = Backend.from_file(str(file)) if whole else Backend.from_str(converted)
    except ModelError:
        raise
    except Exception as error:  # the library raises bare Exception for a malformed file
        raise ModelError(f"{folder.path}: the tokenizer can't be loaded: {one_line(error)}") from error
    backend.no_truncation()
    backend.no_padding()
    special = read_special(folder.path)
    return Tokenizer(backend, _for_data(backend), read_template(folder.path), special, folder.shipped)


def _for_data(backend: Backend) -> Backend:
    """A tokenizer for contents: added tokens that are not called special, such as ``<tool_call>``, are so there.

    Runs of spaces that some vocabularies add can do nothing, and stay.
    """
    added = backend.get_added_tokens_decoder().values()
    if all(token.special or token.content.isspace() for token in added):
        return backend
    said = json.loads(backend.to_str())
    for token in said["added_tokens"]:
        token["special"] = token["special"] or not token["content"].isspace()
    return Backend.from_str(json.dumps(said))


def _tried(folder: ModelFolder, version: str, convert: bool) -> str:
    """Try a folder's tokenizer, each version once; the converted one, where there is no ``tokenizer.json``."""
    if version not in _CONVERTED:
        asked = {"folder": str(folder.path), "file": str(folder.path / TOKENIZER), "convert": convert}
        # A conversion imports transformers, which alone takes seconds and gigabytes of addresses.
        seconds, memory = (60, 8_000_000_000) if convert else (10, 4_000_000_000)
        what = f"{folder.path}: the tokenizer"
        answer = limited_process.ask("tokenizer_trial", asked, what, seconds=seconds, memory_bytes=memory)
        _CONVERTED[version] = str(answer["converted"])
    return _CONVERTED[version]


@lru_cache(maxsize=256)
def _rendered(template: str, special: tuple[tuple[str, str], ...], texts: tuple[tuple[str, str], ...]) -> list[str]:
    asked = {"template": template, "special": dict(special), "prompts": texts}
    answer = limited_process.ask("chat_template", asked, "the chat template", seconds=3, memory_bytes=2_000_000_000)
    return [str(text) for text in answer["texts"]]
