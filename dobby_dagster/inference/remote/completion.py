"""What a server says: a chat completion in one strict form, or what is wrong, in words.

The server is not trusted. JSON is parsed with bounded depth and strict Unicode, by pydantic's own parser; whatever
does not fit the form is an error that names the place.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from dobby_dagster.domain.errors import InferenceError
from dobby_dagster.domain.http_client import Reply
from dobby_dagster.domain.secrets import redact
from dobby_dagster.domain.summaries import FinishReason
from dobby_dagster.inference.remote.reasoning import without_thoughts

SHOWN = 200
_KEPT = 2_000
# A key that the server writes into an answer is taken out; a word that somebody uses as a key for form's sake is not.
_SHORTEST_IN_TEXT = 8
# Some servers write so for "very unlikely"; that can't be said of a token that was chosen.
_LEAST_LOGPROB = -1_000.0
_ROUNDING = 1e-3
_CUT_OFF = {"length", "max_tokens", "model_length", "max_output_tokens", "token_limit"}
_FILTERED = {"content_filter", "content-filter", "safety", "recitation", "blocklist", "prohibited_content", "sensitive",
             "spii", "guardrail_intervened", "refusal"}  # fmt: skip
_BROKEN_OFF = {"error", "abort", "aborted", "cancelled", "canceled", "insufficient_system_resource", "timeout"}
_BUSY = re.compile(r"rate.?limit|too many requests|overload|capacity|quota|try again|server.{0,20}busy", re.IGNORECASE)

Count = Annotated[int, Field(ge=0, le=2**31)]
Form = TypeVar("Form", bound=BaseModel)


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Usage(_Form):
    """How many tokens the server counted; None where it does not say."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


class Part(_Form):
    """A part of a content that comes in parts; those of other types than text are thoughts, or no text."""

    type: str = "text"
    text: str = ""


class Message(_Form):
    """What the model wrote; thoughts may stand beside it."""

    content: str | list[Part] | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None


class Choice(_Form):
    """One answer."""

    message: Message
    finish_reason: str | None = None
    logprobs: Any = None
    error: Any = None


class Completion(_Form):
    """A chat completion."""

    choices: list[Choice] = Field(min_length=1)
    usage: Usage | None = None

    @property
    def finish_reason(self) -> FinishReason:
        """Why the model stopped."""
        said = (self.choices[0].finish_reason or "").lower()
        return "length" if said in _CUT_OFF else "stop" if said else "unknown"

    @property
    def logprobs(self) -> list[float]:
        """Natural logarithms of the tokens' probabilities; empty where any of them is no such number."""
        try:
            values = [token["logprob"] for token in self.choices[0].logprobs["content"]]
            known = all(math.isfinite(value) and _LEAST_LOGPROB < value <= _ROUNDING for value in values)
        except (TypeError, KeyError, OverflowError):
            return []
        return [min(0.0, float(value)) for value in values] if known else []

    def text(self) -> str:
        """The answer without thoughts.

        Raises:
            InferenceError: There is none: a filter took it, the model refused, or it only thought.
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


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no completion.

    Attributes:
        status: The HTTP status, or the one that an error inside an answer 200 stands for.
        message: What the server says, in one line.
        param: The request's parameter that it is about, where the server says so.
        code: The server's own word for it.
        limit: Tokens that the server's context holds, where it says so.
    """

    status: int
    message: str
    param: str = ""
    code: str = ""
    limit: int | None = None


def read(reply: Reply) -> Completion | Trouble:
    """The completion in ``reply``, whose status is 200, or what the server says in it is wrong.

    Raises:
        ValueError: It is neither; the message says in words what it is.
    """
    found = parsed(reply.body)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    if found.get("error") or found.get("object") == "error" or ("choices" not in found and "detail" in found):
        return _trouble(None, found)
    completion = validated(Completion, found)
    choice = completion.choices[0]
    if choice.error or (choice.finish_reason or "").lower() in _BROKEN_OFF:
        return _trouble(None, {"error": choice.error or f"generation ended with '{choice.finish_reason}'"})
    return completion


def parsed(body: bytes) -> Any:
    """``body`` as JSON.

    Raises:
        ValueError: It is none, is nested too deeply, or holds what is no Unicode text.
    """
    try:
        return from_json(body.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise ValueError(f"it is not valid JSON: {error}") from None


def validated(form: type[Form], found: Any) -> Form:
    """``found`` as ``form``.

    Raises:
        ValueError: It is not; the message names the place, what stands there and what should.
    """
    try:
        return form.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        # Of the union of a content the last parts of a place name the member, which says nothing to a reader.
        place = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("list[", "str")))
        if first["type"] == "missing":
            raise ValueError(f"it has no {place}") from None
        says = first["msg"].replace("Input should be", "should be").replace("List", "a list")
        raise ValueError(f"{place} = {shown(repr(first['input']), 60)} {says}") from None


def shown(text: str, longest: int = SHOWN) -> str:
    """``text`` in one line of at most ``longest`` characters, secrets taken out before it is cut."""
    line = " ".join(redact(text[:100_000]).split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


def trouble_of(reply: Reply) -> Trouble:
    """What the server says is wrong in ``reply``, whose status is not 200."""
    try:
        found = from_json(reply.body)
    except ValueError:
        found = reply.body[:100_000].decode(errors="replace")
    return _trouble(reply.status, found)


def _trouble(status: int | None, found: Any) -> Trouble:
    error = found.get("error") or found.get("detail") or found if isinstance(found, dict) else found
    about: dict[str, Any] = error if isinstance(error, dict) else {}
    message = shown(str(about.get("message") or about.get("msg") or error), _KEPT)
    words = [str(about.get(name) or "") for name in ("code", "type", "status")]
    limit = about.get("n_ctx")
    return Trouble(
        status=_status_of(words, message) if status is None else status,
        message=message,
        param=str(about.get("param") or ""),
        code=" ".join(word for word in words if word),
        limit=limit if isinstance(limit, int) and limit > 0 else None,
    )


def _status_of(words: list[str], message: str) -> int:
    """The HTTP status that an error inside an answer 200 stands for."""
    for word in words:
        if re.fullmatch("[45][0-9][0-9]", word):
            return int(word)
    return 429 if _BUSY.search(" ".join([*words, message])) else 500
