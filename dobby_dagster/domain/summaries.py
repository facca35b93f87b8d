"""Summaries, and the fingerprint under which each is stored."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from dobby_dagster.domain.scope import RecipeId

# ``length``: the output was cut off at the token limit; ``unknown``: the model server does not say.
FinishReason: TypeAlias = Literal["stop", "length", "unknown"]
CUT_OFF: FinishReason = "length"
# The setting of a recipe that says how many summaries of called functions are in a prompt; absent where it is none.
CALLEES = "callees"


def digest(*parts: Any) -> str:
    """SHA-256 (hex) of ``parts`` as canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How summaries are made: which prompt, which model, which generation settings.

    Attributes:
        prompt: The prompt's identifier and version, as ``summary@1``.
        prompt_text: The prompt's whole text, its placeholders unfilled.
        model: The model's name, for people.
        model_revision: SHA-256 of the model's files.
        settings: The generation settings that change the output.
    """

    prompt: str
    prompt_text: str
    model: str
    model_revision: str
    settings: dict[str, Any]

    @property
    def id(self) -> RecipeId:
        """16 hex digits that name the recipe."""
        return RecipeId(digest(self.prompt, self.prompt_text, self.model_revision, self.settings)[:16])

    @property
    def callees(self) -> int:
        """Summaries of called functions in a prompt, at most."""
        return int(self.settings.get(CALLEES, 0))

    def fingerprint(self, content_hash: str, language: str, context: str = "") -> str:
        """SHA-256 (hex) of everything that decides a summary: content, prompt with its language, model, settings.

        Args:
            content_hash: Of the content.
            language: Of the content.
            context: What the model is told before the content.
        """
        filled = self.prompt_text.replace("{language}", language)
        told = [context] if context else []
        return digest(content_hash, self.prompt, filled, self.model_revision, self.settings, *told)


@dataclass(frozen=True, slots=True)
class Summary:
    """One stored summary.

    Attributes:
        confidence: In (0, 1]: calibrated where the model brings a calibration, else exp(mean token log-probability);
            None where it is unknown: some model servers give no probabilities.
        mean_logprob, min_logprob: Of the output tokens, natural logarithm; None where they are unknown.
        finish_reason: ``length`` where the summary was cut off, see :attr:`cut_off`.
        prompt_tokens, output_tokens: None where a model server does not count them.
        inference_seconds: The record's share of its batch's wall time, 0 where it was reused.
        truncated: Whether the middle of the content was left out.
        created_at: Seconds since the epoch.
    """

    source: str
    key: str
    fingerprint: str
    content_hash: str
    text: str
    confidence: float | None
    mean_logprob: float | None
    min_logprob: float | None
    finish_reason: FinishReason
    prompt_tokens: int | None
    output_tokens: int | None
    truncated: bool
    model: str
    prompt: str
    recipe: str
    batch: str
    inference_seconds: float
    created_at: float

    @property
    def cut_off(self) -> bool:
        """Whether the model reached the token limit, so that the text may be incomplete."""
        return self.finish_reason == CUT_OFF
