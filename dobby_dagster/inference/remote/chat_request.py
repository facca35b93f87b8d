"""The body of a chat completion request."""

from __future__ import annotations

from typing import Any

from dobby_dagster.domain.settings import InferenceSettings
from dobby_dagster.inference.prompts import CUT, truncate_middle


def chat_request(model: str, settings: InferenceSettings, filled: tuple[str, str, str], content: str) -> dict[str, Any]:
    """A request for one summary, with log-probabilities.

    Args:
        model: The server's name for it.
        settings: Sampling and limits, with ``max_new_tokens`` set.
        filled: See :meth:`~dobby_dagster.inference.prompts.Prompt.filled`.
        content: To summarize.

    >>> chat_request("m", InferenceSettings(), ("Summarize.", "", ""), "x = 1")["messages"][1]
    {'role': 'user', 'content': 'x = 1'}
    """
    system, before, after = filled
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": f"{before}{content}{after}"},
        ],
        "max_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "seed": settings.seed,
        "stream": False,
        "logprobs": True,
    }
    if settings.temperature:
        body["top_p"] = settings.top_p
        if settings.top_k:  # not OpenAI's, but vLLM, SGLang and llama.cpp have it
            body["top_k"] = settings.top_k
    if settings.repetition_penalty != 1.0:  # likewise
        body["repetition_penalty"] = settings.repetition_penalty
    if settings.stop:
        body["stop"] = list(settings.stop)
    return body


def without_middle(content: str, room: int) -> tuple[str, bool]:
    r"""``content`` in at most ``room`` characters, and whether its middle was left out for that.

    >>> without_middle("abcdefghij", 8)
    ('abcd\n…\nj', True)
    """
    places, truncated = truncate_middle(range(len(content)), room, [-1] * len(CUT))
    if not truncated:
        return content, False
    head = places.index(-1)
    return content[:head] + CUT + content[len(content) - (len(places) - head - len(CUT)) :], True
