"""From settings to the recipe: everything that decides what a summary says."""

from __future__ import annotations

import hashlib

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings, Settings
from dobby_dagster.domain.summaries import CALLEES, Recipe
from dobby_dagster.inference.engine_choice import with_quantization
from dobby_dagster.inference.local.devices import device_of
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.prompts import Prompt, chosen_prompt

# Settings of batching, memory and deadlines, which may change without making stored summaries out of date.
_NOT_IN_FINGERPRINT = {"slots", "token_budget", "memory_share", "memory_limit_bytes", "stall_seconds"}


def recipe_of(model: ModelSettings, inference: InferenceSettings, prompt: Prompt, callees: int = 0) -> Recipe:
    """The recipe of these settings; reads the model's files, loads nothing.

    Args:
        model: Which model.
        inference: How it generates.
        prompt: What it is asked.
        callees: Summaries of called functions in a prompt, at most.

    Raises:
        ModelError: The model can't be used.
        PromptError: The model was not trained for this prompt, or not for summaries of called functions in it.
    """
    settings = inference.within(prompt.max_new_tokens).model_dump(mode="json", exclude=_NOT_IN_FINGERPRINT)
    greedy = not inference.temperature and inference.repetition_penalty == 1.0
    if model.url or not greedy or inference.second_try == "never":
        del settings["second_try"]  # as before there was one: what has none keeps its fingerprints
    settings |= {CALLEES: callees} if callees else {}
    if model.url:
        # A server's model can't be inspected: its name stands for it, whatever the server's address.
        return Recipe(prompt.name, prompt.text, model.served_name, served_revision(model.served_name), settings)
    source = find_model(model)
    source.require_prompt(prompt, callees)
    # What auto stands for, so that the same numbers have the same fingerprint however they were asked for.
    settings["quantization"] = with_quantization(model, inference, source, device_of(model)[0]).quantization
    return Recipe(prompt.name, prompt.text, source.name, source.revision, settings)


def served_revision(name: str) -> str:
    """A stand-in for the revision of a model that a server runs under ``name``: SHA-256 in hex."""
    return hashlib.sha256(f"served\0{name}".encode()).hexdigest()


def recipe_for(settings: Settings) -> Recipe:
    """The recipe of all settings together.

    Raises:
        ModelError: The model can't be used.
        PromptError: There is no such prompt, or the model was not made for it.
    """
    prompt = settings.prompt
    return recipe_of(settings.model, settings.inference, chosen_prompt(prompt), prompt.callees)
