"""A model folder's tokenizer and chat template, without importing transformers: that alone would take a second."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tokenizers import Tokenizer as Backend

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.model_folder import ModelFolder, one_line


@dataclass(frozen=True)
class Tokenizer:
    """Texts to tokens and back, exactly as ``tokenizer.json`` has it, and messages to prompts.

    Attributes:
        backend: The library's tokenizer.
        template: The chat template (Jinja); ``""`` where the folder has none.
        special: Names of special tokens as templates see them, such as ``bos_token``, to their texts.
    """

    backend: Backend
    template: str
    special: dict[str, str]

    def token(self, name: str) -> int | None:
        """The identifier of a special token, such as ``eos_token``; None where there is none."""
        text = self.special.get(name)
        return None if text is None else self.backend.token_to_id(text)

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Tokens of a text in which special tokens are read as such."""
        return self.backend.encode(text, add_special_tokens=add_special_tokens).ids

    def plain(self, texts: Iterable[str]) -> list[list[int]]:
        """Tokens of texts as data: no special token is read or added."""
        self.backend.encode_special_tokens = True
        try:
            return [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]
        finally:
            self.backend.encode_special_tokens = False

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones left out."""
        return self.backend.decode(list(ids), skip_special_tokens=True)

    def prompt(self, messages: Sequence[dict[str, str]]) -> str:
        """Messages in the words of the chat template, up to where the model is to answer.

        Raises:
            ModelError: The template is malformed.
            TemplateError: It refuses the messages.
        """
        from jinja2 import TemplateError, TemplateSyntaxError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> None:
            raise TemplateError(message)

        # A template is untrusted input: it runs in a sandbox. The settings are those of transformers.
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
        environment.globals["raise_exception"] = refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        try:
            compiled = environment.from_string(self.template)
        except TemplateSyntaxError as error:
            raise ModelError(f"the chat template is malformed: {one_line(error)}", hint="copy it again") from None
        return compiled.render(messages=messages, add_generation_prompt=True, **self.special)


def load_tokenizer(folder: ModelFolder) -> Tokenizer:
    """The tokenizer of a checked folder.

    Raises:
        ModelError: It can't be loaded, or is no fast one.
    """
    file = folder.path / "tokenizer.json"
    try:
        backend = Backend.from_file(str(file)) if file.is_file() else _converted(folder)
    except ModelError:
        raise
    except Exception as error:  # the library raises bare Exception for a malformed file
        raise ModelError(f"{folder.path}: the tokenizer can't be loaded: {one_line(error)}") from error
    backend.no_truncation()
    backend.no_padding()
    settings = folder.json("tokenizer_config.json")
    named = folder.json("special_tokens_map.json") | settings
    special = {name: _text(value) for name, value in named.items() if name.endswith("_token") and _text(value)}
    return Tokenizer(backend, _template(folder, settings), special)


def _text(value: Any) -> str:
    """A special token's text, which stands alone or in a description."""
    found = value.get("content") if isinstance(value, dict) else value
    return found if isinstance(found, str) else ""


def _template(folder: ModelFolder, settings: dict[str, Any]) -> str:
    file = folder.path / "chat_template.jinja"
    if file.is_file():
        return file.read_text()
    found = settings.get("chat_template")
    if isinstance(found, list):
        found = next((each.get("template") for each in found if each.get("name") == "default"), "")
    return found if isinstance(found, str) else ""


def _converted(folder: ModelFolder) -> Backend:
    """A tokenizer of the older files, such as ``vocab.json``, as transformers converts them."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{folder.path}: only fast tokenizers are supported", hint="add a tokenizer.json")
    backend: Backend = tokenizer.backend_tokenizer
    return backend
