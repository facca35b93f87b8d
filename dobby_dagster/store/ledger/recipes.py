"""The recipes that were used: what each identifier stands for, and which is in use."""

from __future__ import annotations

import time
from typing import Any

from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.store.cozoscript.script import script
from dobby_dagster.store.cozoscript.storable import storable_value
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import CHUNK, RECIPE


class Recipes:
    """Every model, prompt and settings that made summaries here."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def remember(self, recipe: Recipe) -> None:
        """Store what ``recipe.id`` stands for, and that it was used now."""
        row = [recipe.id, recipe.prompt, recipe.prompt_text, recipe.model, recipe.model_revision, recipe.settings]
        rows = [[*storable_value(row), time.time()]]
        self._connection.run(RECIPE.put(), {"rows": rows}, write=True)

    def use(self, recipe: RecipeId) -> None:
        """Store that ``recipe``, which is known, was used now."""
        query = f"?[recipe, used_at] := *{RECIPE.name}{{recipe}}, recipe == $recipe, used_at = $now"
        update = f":update {RECIPE.name} {{recipe => used_at}}"
        self._connection.run(f"{query} {update}", {"recipe": recipe, "now": time.time()}, write=True)

    def forget_unused(self, recipe: RecipeId) -> bool:
        """Delete ``recipe`` if no chunk was ever committed with it; return whether none was."""
        unused = f"""?[recipe] := recipe = $recipe, not *{CHUNK.name}{{recipe}} {RECIPE.remove}"""
        used = f"?[count(chunk)] := *{CHUNK.name}{{chunk, recipe: $recipe}}"
        blocks = [f"{{ {unused} }}", f"{{ {used} }}"]
        return not self._connection.run(script(blocks), {"recipe": recipe}, write=True).rows[0][0]

    def latest(self) -> RecipeId | None:
        """The recipe that was used last."""
        rows = self._connection.run(
            "?[used_at, recipe] := *dobby_recipe{recipe, used_at} :order -used_at :limit 1"
        ).rows
        return RecipeId(rows[0][1]) if rows else None

    def began(self) -> dict[str, float]:
        """When the first chunk of each recipe started, in seconds since the epoch; of those that have none, nothing."""
        query = f"?[recipe, min(started_at)] := *{CHUNK.name}{{recipe, started_at}}"
        return {recipe: float(at) for recipe, at in self._connection.run(query).rows}

    def all(self) -> list[dict[str, Any]]:
        """Every recipe, the last used first: recipe, prompt, model, model_revision, settings, used_at."""
        columns = "recipe, prompt, model, model_revision, settings, used_at"
        return list(self._connection.run(f"?[{columns}] := *dobby_recipe{{{columns}}} :order -used_at").dicts())

    def with_summaries(self, relation: str) -> list[dict[str, Any]]:
        """As :meth:`all`, how many ``summaries`` of ``relation`` each has, and when it ``began``, see :meth:`began`."""
        query = "?[recipe, count(fingerprint)] := *dobby_summary{source: $source, key, fingerprint, recipe}"
        counts = dict(self._connection.run(query, {"source": relation}).rows)
        began = self.began()
        return [
            row | {"summaries": counts.get(row["recipe"], 0), "began": began.get(row["recipe"])} for row in self.all()
        ]
