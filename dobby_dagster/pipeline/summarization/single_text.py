"""One text, one summary: what a run would store of it, without a database."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from dobby_dagster.domain.errors import RecordError
from dobby_dagster.domain.settings import Settings
from dobby_dagster.inference.engine import Engine, Failure, Generation, ModelInfo, Request
from dobby_dagster.inference.engine_selection import engine_for
from dobby_dagster.inference.prompts import Prompt, chosen_prompt
from dobby_dagster.inference.recipe import recipe_for
from dobby_dagster.pipeline.summarization.second_try import Attempt, avoided, better


@dataclass(frozen=True, slots=True)
class TextSummary:
    """A summary that the quality gate accepted, and how it was made.

    Attributes:
        generation: The summary with its confidence and its tokens.
        model: What wrote it.
        prompt: Identifier and version of the prompt.
        seconds: From the loaded model to the summary.
    """

    generation: Generation
    model: ModelInfo
    prompt: str
    seconds: float


def summarize_text(settings: Settings, text: str, language: str = "") -> TextSummary:
    """The summary of ``text`` by the model and the prompt of ``settings``.

    Args:
        settings: Model, prompt and generation; the database is not opened.
        text: A content, as a record has it.
        language: A programming or natural language; empty where it is unknown.

    Raises:
        ModelError: The model can't be used.
        PromptError: There is no such prompt, or the model was not trained for it.
        RecordError: The model failed on the text, or the quality gate rejected what it wrote.
    """
    prompt = chosen_prompt(settings.prompt)
    recipe = recipe_for(settings)  # refuses a prompt that the model was not trained for
    engine = engine_for(settings.model, settings.inference.within(prompt.max_new_tokens))
    try:
        info = engine.load()
        began = time.perf_counter()
        request = Request("text", text, language)
        attempt = _attempt(engine, request, prompt)
        if isinstance(attempt, RecordError):
            raise attempt
        avoid = avoided(attempt, text, recipe.settings.get("second_try", "never"))
        if avoid is not None:
            second = _attempt(engine, replace(request, avoid=avoid), prompt)
            attempt = better(attempt, second, text) if isinstance(second, Attempt) else attempt
        seconds = time.perf_counter() - began
    finally:
        engine.close()
    if attempt.error is not None:
        raise attempt.error
    return TextSummary(attempt.output, info, prompt.name, seconds)


def _attempt(engine: Engine, request: Request, prompt: Prompt) -> Attempt | RecordError:
    [answer] = engine.infer([request], prompt)
    return answer.error if isinstance(answer, Failure) else Attempt.of(answer, request.content, prompt.text)
