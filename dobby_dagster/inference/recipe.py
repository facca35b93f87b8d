"""From settings to what decides a summary."""

from __future__ import annotations

import hashlib

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings, Settings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.inference.models.model_folder import find_model
from dobby_dagster.inference.prompts import Prompt, chosen_prompt

# What may change without changing an output that is meant to be kept: how many at once, not what is asked.
_NOT_IN_FINGERPRINT = {"slots", "token_budget", "memory_share", "memory_limit_bytes"}


def recipe_of(model: ModelSettings, inference: InferenceSettings, prompt: Prompt) -> Recipe:
    """The recipe of these settings; reads the model's files, loads nothing.

    Raises:
        ModelError: The model can't be used.
        PromptError: The model was not made for this prompt.
    """
    settings = inference.within(prompt.max_new_tokens).model_dump(mode="json", exclude=_NOT_IN_FINGERPRINT)
    if model.url:
        # What a server runs can't be looked at: its name for the model has to do, wherever the server is.
        return Recipe(prompt.name, prompt.text, model.served_name, served_revision(model.served_name), settings)
    folder = find_model(model)
    folder.require_prompt(prompt)
    settings["quantization"] = model.quantization
    return Recipe(prompt.name, prompt.text, folder.name, folder.revision, settings)


def served_revision(name: str) -> str:
    """What stands for the revision of a model that a server runs under ``name``."""
    return hashlib.sha256(f"served\0{name}".encode()).hexdigest()


def recipe_for(settings: Settings) -> Recipe:
    """The recipe of all settings together.

    Raises:
        ModelError: The model can't be used.
        PromptError: There is no such prompt, or the model was not made for it.
    """
    return recipe_of(settings.model, settings.inference, chosen_prompt(settings.prompt))
