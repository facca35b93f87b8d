"""How long a content may be to fit into a prompt."""

from __future__ import annotations

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.prompts import Prompt

# Of source code: a conservative mean.
CHARACTERS_PER_TOKEN = 3


def content_room(model: ModelSettings, inference: InferenceSettings, prompt: Prompt) -> int:
    """Characters of a content that the model reads whole, nearly always; reads the model's files, loads nothing.

    Raises:
        ModelError: The model can't be used.
    """
    tokens = inference.max_prompt_tokens
    if not model.url:
        new_tokens = inference.within(prompt.max_new_tokens).max_new_tokens
        tokens = find_model(model).prompt_limit(tokens, new_tokens)
    return tokens * CHARACTERS_PER_TOKEN
