"""A server's chat completion, validated.

The server is not trusted. JSON is parsed with bounded depth and strict Unicode, by pydantic's own parser; content that
does not fit the schema is an error that names the place.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from dobby_dagster.domain.errors import InferenceError
from dobby_dagster.domain.http_reply import Reply
from dobby_dagster.domain.secrets import redact
from dobby_dagster.domain.summaries import FinishReason
from dobby_dagster.inference.remote.error_reply import ErrorReply, from_content, shown
from dobby_dagster.inference.remote.reasoning import without_thoughts

# Keys that the server repeats in an answer are redacted; shorter ones are dummies, such as "none", and stay.
_SHORTEST_IN_TEXT = 8
# Some servers report this for "very unlikely", which is wrong for a token that was chosen.
_LEAST_LOGPROB = -1_000.0
_ROUNDING = 1e-3
_CUT_OFF = {"length", "max_tokens", "model_length", "max_output_tokens", "token_limit"}
_FILTERED = {"content_filter", "content-filter", "safety", "recitation", "blocklist", "prohibited_content", "sensitive",
             "spii", "guardrail_intervened", "refusal"}  # fmt: skip
_BROKEN_OFF = {"error", "abort", "aborted", "cancelled", "canceled", "insufficient_system_resource", "timeout"}

Count = Annotated[int, Field(ge=0, le=2**31)]
Schema = TypeVar("Schema", bound=BaseModel)


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Usage(_Schema):
    """Tokens as counted by the server; None where it does not count them."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


class Part(_Schema):
    """A part of a content; parts of other types than text are thoughts, images and the like."""

    type: str = "text"
    text: str = ""


class Message(_Schema):
    """The model's output, with its thoughts in fields of their own."""

    content: str | list[Part] | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None


class Choice(_Schema):
    """One output."""

    message: Message
    finish_reason: str | None = None
    logprobs: Any = None
    error: Any = None


class Completion(_Schema):
    """A chat completion.

    >>> Completion.model_validate({"choices": [{"message": {"content": "<think>Hm.</think>Adds."}}]}).text()
    'Adds.'
    """

    choices: list[Choice] = Field(min_length=1)
    usage: Usage | None = None

    @property
    def finish_reason(self) -> FinishReason:
        """Why the model stopped."""
        reason = (self.choices[0].finish_reason or "").lower()
        return "length" if reason in _CUT_OFF else "stop" if reason else "unknown"

    @property
    def logprobs(self) -> list[float]:
        """Natural logarithms of the tokens' probabilities; empty where any of them is invalid."""
        try:
            values = [token["logprob"] for token in self.choices[0].logprobs["content"]]
            known = all(math.isfinite(value) and _LEAST_LOGPROB < value <= _ROUNDING for value in values)
        except (TypeError, KeyError, OverflowError):
            return []
        return [min(0.0, float(value)) for value in values] if known else []

    def text(self) -> str:
        """The output without thoughts.

        Raises:
            InferenceError: It was filtered, the model refused, or there are thoughts only.
        """
        choice = self.choices[0]
        if (choice.finish_reason or "").lower() in _FILTERED:
            raise InferenceError(f"the model server filtered the answer (finish_reason {choice.finish_reason})")
        content = choice.message.content or ""
        parts = [Part(text=content)] if isinstance(content, str) else content
        text = without_thoughts("".join(part.text for part in parts if part.type in ("text", "output_text")))
        if text:
            return redact(text, _SHORTEST_IN_TEXT)
        if choice.message.refusal:
            raise InferenceError(f"the model refused: {shown(str(choice.message.refusal))}")
        if content or choice.message.reasoning_content or choice.message.reasoning:
            raise InferenceError(
                "the model server's answer holds thoughts only",
                hint="let it write more with inference.max_new_tokens, or switch its reasoning off",
            )
        return ""


def read(reply: Reply) -> Completion | ErrorReply:
    """The completion or the error in ``reply``, whose status is 200.

    Raises:
        ValueError: It holds neither.
    """
    found = parsed(reply.body)
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    if found.get("error") or found.get("object") == "error" or ("choices" not in found and "detail" in found):
        return from_content(None, found)
    completion = validated(Completion, found)
    choice = completion.choices[0]
    if choice.error or (choice.finish_reason or "").lower() in _BROKEN_OFF:
        return from_content(None, {"error": choice.error or f"generation ended with '{choice.finish_reason}'"})
    return completion


def parsed(body: bytes) -> Any:
    """``body`` parsed as JSON.

    Raises:
        ValueError: It is not valid JSON, nested too deeply, or not valid Unicode.
    """
    try:
        return from_json(body.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise ValueError(f"it is not valid JSON: {error}") from None


def validated(schema: type[Schema], found: Any) -> Schema:
    """``found``, validated by a schema.

    Raises:
        ValueError: It does not fit; the message names the place, its value, and what was expected.
    """
    try:
        return schema.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        # For the union of content types, the last parts of the location name the member, which tells a reader nothing.
        place = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("list[", "str")))
        if first["type"] == "missing":
            raise ValueError(f"it has no {place}") from None
        expected = first["msg"].replace("Input should be", "should be").replace("List", "a list")
        raise ValueError(f"{place} = {shown(repr(first['input']), 60)} {expected}") from None
