"""From a request to token identifiers: the prompt's frame, and the content inside it as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.engine import Request
from dobby_dagster.inference.prompts import CUT, Prompt, truncate_middle

# Stands for the content while the chat template is rendered; private-use characters that no template touches.
_MARK = "\ue000\ue001\ue000"
# No token is longer than this in practice: what lies further from both ends than so many characters a token
# would be cut anyhow, and is not even tokenized.
_CHARACTERS_PER_TOKEN = 64


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request as the model reads it; its first ``shared`` tokens stand before every content of its kind."""

    ids: list[int]
    truncated: bool
    shared: int = 0


class Encoder:
    """Renders prompts with the tokenizer's chat template, where it has one.

    A content is tokenized apart from the frame, and nothing in it is read as a special token, so that it can
    neither end its turn nor speak as somebody else.

    Args:
        tokenizer: A fast tokenizer of transformers.
        max_prompt_tokens: Longest prompt, frame and content together.
    """

    def __init__(self, tokenizer: Any, max_prompt_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._limit = max_prompt_tokens
        self._frame = lru_cache(maxsize=256)(self._render)
        self._cut = self.plain([CUT])[0]

    def encode(self, requests: Sequence[Request], prompt: Prompt) -> list[Encoded]:
        """Token identifiers of every request, in order."""
        contents = self.plain([self._clip(request.content) for request in requests])
        encoded = []
        for request, content in zip(requests, contents, strict=True):
            before, after = self._frame(prompt, request.language)
            room = self._limit - len(before) - len(after)
            if room < 8:
                raise ModelError(
                    f"prompt '{prompt.name}' leaves {room} of {self._limit} tokens for the content",
                    hint="shorten it, or raise inference.max_prompt_tokens",
                )
            body, truncated = truncate_middle(content, room, self._cut)
            truncated = truncated or len(request.content) > 2 * self._limit * _CHARACTERS_PER_TOKEN
            encoded.append(Encoded([*before, *body, *after], truncated, len(before)))
        return encoded

    def _clip(self, content: str) -> str:
        span = self._limit * _CHARACTERS_PER_TOKEN
        return content if len(content) <= 2 * span else content[:span] + content[-span:]

    def plain(self, texts: list[str]) -> list[list[int]]:
        """Token identifiers of texts as data: no special token is read or added."""
        backend = self._tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.encode_special_tokens = True
        try:
            return [encoding.ids for encoding in backend.encode_batch(texts, add_special_tokens=False)]
        finally:
            backend.encode_special_tokens = False

    def _render(self, prompt: Prompt, language: str) -> tuple[list[int], list[int]]:
        system, before, after = prompt.filled(language)
        user = f"{before}{_MARK}{after}"
        templated = bool(self._tokenizer.chat_template)
        text = self._templated(system, user) if templated else f"{system}\n\n{user}\n\nSummary:"
        parts = text.split(_MARK)
        if len(parts) != 2:
            raise ModelError(f"the chat template shows the content {len(parts) - 1} times instead of once")
        head = self._tokenizer(parts[0], add_special_tokens=not templated)["input_ids"]
        if not templated and head and head[-1] == self._tokenizer.eos_token_id:
            head = head[:-1]
        return head, self._tokenizer(parts[1], add_special_tokens=False)["input_ids"]

    def _templated(self, system: str, user: str) -> str:
        from jinja2 import TemplateError

        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        try:
            return self._apply(messages)
        except TemplateError:  # some templates refuse a system message
            return self._apply([{"role": "user", "content": f"{system}\n\n{user}"}])

    def _apply(self, messages: list[dict[str, str]]) -> str:
        text: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return text
