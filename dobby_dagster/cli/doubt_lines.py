"""What a command says about the summaries that may be wrong or incomplete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dobby_dagster.domain.plurals import counted

if TYPE_CHECKING:
    from dobby_dagster.cli.database_in_use import Opened
    from dobby_dagster.domain.scope import RecipeId
    from dobby_dagster.pipeline.reporting.doubtful_summaries import DoubtfulCounts


def doubts_of(use: Opened, recipe: RecipeId) -> DoubtfulCounts:
    """The doubts about all current summaries under ``recipe``."""
    from dobby_dagster.pipeline.reporting.doubtful_summaries import count_doubtful

    return count_doubtful(use.store, use.relation, recipe, use.settings.pipeline.unsure_below)


def redo_command(use: Opened, recipe: RecipeId | None) -> str:
    """The command that summarises what failed or is unsure under ``recipe`` with another model."""
    from dobby_dagster.inference.models.shipped_models import another_model

    rows = use.store.recipes.all()
    model = next((row["model"] for row in rows if row["recipe"] == recipe), "")
    named = f" --recipe {recipe}" if rows and rows[0]["recipe"] != recipe else ""
    return use.command(f"redo --model {another_model(model)}{named}")


def doubt_lines(use: Opened, recipe: RecipeId) -> list[str]:
    """A line on unsure summaries, and one on each other doubt that there is; none where there is no summary."""
    found = doubts_of(use, recipe)
    if not found.summaries:
        return []
    of = f"of {counted(found.summaries, 'summary')}"
    lines = [f"Unsure, with a confidence below {use.settings.pipeline.unsure_below:g}: {found.unsure:,} {of}."]
    if found.unsure:
        lines[0] += " To summarise those, and what failed, with another model:"
        lines.append(f"  {redo_command(use, recipe)}")
    if found.unknown:
        lines.append(
            f"Unknown confidence: {found.unknown:,} {of}, because the model's confidence was not calibrated for that"
            " kind of content, or the model server returns no probabilities."
        )
    if found.cut_off:
        lines.append(f"Cut off at the token limit: {found.cut_off:,} {of}; raise it with --max-new-tokens N.")
    if found.truncated:
        lines.append(f"Content too long for the model: {found.truncated:,} {of}; the middle was left out.")
    return lines
