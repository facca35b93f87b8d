"""The options with which ``dobby summarize`` uses a recipe of the database again."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.printable import shell_word
from dobby_dagster.domain.settings import Settings


def recipe_options(settings: Settings, wanted: Mapping[str, Any]) -> str | None:
    """As few options as possible, tried out: they give that recipe, to the letter.

    Args:
        settings: Those in use.
        wanted: A row of :meth:`~dobby_dagster.store.ledger.recipes.Recipes.all`.

    Returns:
        Empty if the recipe is in use; None if no model, prompt and limit on the command line give it: its model has
        moved, say, or another setting was different.
    """
    from dobby_dagster.inference.models.shipped_models import shelf
    from dobby_dagster.inference.recipe import recipe_for

    prompt, tokens = wanted["prompt"].partition("@")[0], wanted["settings"].get("max_new_tokens")
    models = ["", wanted["model"]] if wanted["model"] in shelf() else [""]
    limits = [None, tokens] if isinstance(tokens, int) else [None]
    for limit, named, model in product(limits, ("", prompt), models):
        changed = settings
        words = ""
        if model:
            changed = _with(changed, "model", path=model, url="", served_name="")
            words += f" --model {shell_word(model)}"
        if named:
            changed = _with(changed, "prompt", id=named)
            words += f" --prompt {shell_word(named)}"
        if limit is not None:
            changed = _with(changed, "inference", max_new_tokens=limit)
            words += f" --max-new-tokens {limit}"
        try:
            if recipe_for(changed).id == wanted["recipe"]:
                return words
        except DobbyError:
            continue
    return None


def _with(settings: Settings, section: str, **values: Any) -> Settings:
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update=values)})
