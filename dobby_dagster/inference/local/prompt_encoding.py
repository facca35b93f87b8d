"""From requests to sequences of tokens: the prompt's frame, and the content inside it as plain data."""

from __future__ import annotations

from collections import abc

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.engine import Request
from dobby_dagster.inference.local.sequence import Sequence
from dobby_dagster.inference.local.tokenizer import Tokenizer
from dobby_dagster.inference.prompts import CUT, Prompt, truncate_middle

# Placeholder for the content while the chat template is rendered: private-use characters that no template changes.
_MARK = "\ue000\ue001\ue000"
# No token is longer than this in practice: characters further from both ends than the limit's tokens could reach
# would be cut out anyway, and are not tokenized.
_CHARACTERS_PER_TOKEN = 64
# Frames are cached by language, which is arbitrary text from the source.
_FRAMES_KEPT = 256


class Encoder:
    """Renders prompts with the tokenizer's chat template, where it has one.

    A content is tokenized apart from the frame, and nothing in it is read as a special token, so that it can
    neither end its turn nor impersonate another role.

    Args:
        tokenizer: Of the model.
        max_prompt_tokens: Longest prompt, frame and content together, in tokens.
    """

    def __init__(self, tokenizer: Tokenizer, max_prompt_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._limit = max_prompt_tokens
        self._frames: dict[tuple[str, str, str], tuple[list[int], list[int]]] = {}
        self._cut = tokenizer.plain([CUT])[0]

    def encode(self, requests: abc.Sequence[Request], prompt: Prompt) -> list[Sequence]:
        """A sequence for each request, in order.

        Raises:
            ModelError: The chat template can't be rendered, or the prompt leaves no room for a content.
        """
        frames = self._framed(prompt, sorted({request.language for request in requests}))
        contents = self._tokenizer.plain([self._clip(request.content) for request in requests])
        encoded = []
        for request, content in zip(requests, contents, strict=True):
            before, after = frames[request.language]
            room = self._limit - len(before) - len(after)
            if room < 8:
                raise ModelError(
                    f"prompt '{prompt.name}' leaves {room} of {self._limit} tokens for the content",
                    hint="shorten it, or raise inference.max_prompt_tokens",
                )
            body, truncated = truncate_middle(content, room, self._cut)
            truncated = truncated or len(request.content) > 2 * self._limit * _CHARACTERS_PER_TOKEN
            encoded.append(Sequence(request, [*before, *body, *after], len(before), truncated))
        return encoded

    def _clip(self, content: str) -> str:
        span = self._limit * _CHARACTERS_PER_TOKEN
        return content if len(content) <= 2 * span else content[:span] + content[-span:]

    def _framed(self, prompt: Prompt, languages: abc.Sequence[str]) -> dict[str, tuple[list[int], list[int]]]:
        """For each language the tokens before and after a content; uncached ones are rendered in one go."""
        keys = {language: (prompt.name, prompt.text, language) for language in languages}
        new = [language for language in languages if keys[language] not in self._frames]
        if new:
            if len(self._frames) + len(new) > _FRAMES_KEPT:
                self._frames = {key: self._frames[key] for key in keys.values() if key in self._frames}
            filled = [prompt.filled(language) for language in new]
            texts = self._rendered([(system, f"{before}{_MARK}{after}") for system, before, after in filled])
            self._frames |= {keys[language]: self._parted(text) for language, text in zip(new, texts, strict=True)}
        return {language: self._frames[key] for language, key in keys.items()}

    def _rendered(self, texts: abc.Sequence[tuple[str, str]]) -> list[str]:
        if self._tokenizer.template:
            return self._tokenizer.prompts(texts)
        return [f"{system}\n\n{user}\n\nSummary:" for system, user in texts]

    def _parted(self, text: str) -> tuple[list[int], list[int]]:
        parts = text.split(_MARK)
        if len(parts) != 2:
            raise ModelError(f"the chat template shows the content {len(parts) - 1} times instead of once")
        templated = bool(self._tokenizer.template)
        head = self._tokenizer.encode(parts[0], add_special_tokens=not templated)
        if not templated and head and head[-1] == self._tokenizer.token("eos_token"):
            head = head[:-1]
        return head, self._tokenizer.encode(parts[1], add_special_tokens=False)
