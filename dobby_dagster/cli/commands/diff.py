"""``dobby diff``: what two models or prompts say of the same records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from typing import Annotated, Any

import typer

from dobby_dagster.cli import options
from dobby_dagster.cli.database_in_use import opened
from dobby_dagster.cli.output import out, print_json, print_table
from dobby_dagster.cli.recipe_labels import has_identifier, settings_by_recipe
from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.scope import RecipeId
from dobby_dagster.domain.suggest import suggestion


@options.takes("database", "relation")
def diff(
    given: options.Given,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Twice: a model's name or a recipe; by default the two used last."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="Records to show, those that differ most first.")
    ] = 20,
    as_json: options.Json = False,
) -> None:
    """Show what two models, prompts or settings say of the same records, side by side.

    Example: dobby diff --model dobby-code-11m --model dobby-code-73m
    """
    from dobby_dagster.pipeline.reporting.recipe_comparison import compare

    use = opened(given)
    rows = [row for row in use.store.recipes.with_summaries(use.relation) if row["summaries"]]
    first, second = _chosen(rows, models or [])
    one, other = (use.store.reports.entries(use.relation, RecipeId(row["recipe"])) for row in (first, second))
    found = compare(one, other, limit)
    if as_json:
        names = {"first": first["recipe"], "second": second["recipe"]}
        print_json({"recipes": names, "models": {n: r["model"] for n, r in zip(names, (first, second), strict=True)},
                    **asdict(found)})  # fmt: skip
        return
    table = [
        (pair.key, _said(pair.first, pair.first_confidence), _said(pair.second, pair.second_confidence),
         f"{pair.overlap:.0%}")
        for pair in found.pairs
    ]  # fmt: skip
    if table:
        print_table(["key", *_labels(first, second), "words in common"], table)
    out.print(
        f"{counted(found.both, 'record')} with both summaries: {found.identical:,} identical,"
        f" {_share(found.overlap_mean)} of the words in common; mean confidence"
        f" {shown_confidence(found.first_confidence)} and {shown_confidence(found.second_confidence)}."
        f" Only by the first: {found.only_first:,}; only by the second: {found.only_second:,}.",
        soft_wrap=True,
    )


def _chosen(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The recipes of two names, the one used last where a model has several; by default the two used last, in order.

    Args:
        rows: All recipes with summaries, the last used first.
        names: Models or identifiers of recipes.

    Raises:
        SettingsError: They are not two, or one is unknown.
    """
    if len(names) not in (0, 2):
        raise SettingsError(f"--model is given {counted(len(names), 'time')}", hint="give it twice, or not at all")
    if not names:
        if len(rows) < 2:
            raise SettingsError(
                f"there are summaries by {counted(len(rows), 'recipe')}, and a comparison needs two",
                hint=_another(rows),
            )
        first, second = sorted(rows[:2], key=lambda row: row["began"] or 0.0)
        return first, second
    named = [[row for row in rows if name == row["model"] or has_identifier(row["recipe"], name)] for name in names]
    for name, matching in zip(names, named, strict=True):
        if not matching:
            raise SettingsError(f"there are no summaries by '{name}'", hint=_way_to(name, rows))
    pairs = ((first, second) for first, second in product(*named) if first is not second)
    pair = next(pairs, None)
    if pair is None:
        raise SettingsError(
            f"'{names[0]}' and '{names[1]}' have the same summaries, and a comparison needs two recipes",
            hint="dobby status lists the recipes",
        )
    return pair


def _another(rows: Sequence[Mapping[str, Any]]) -> str:
    """How to get a second recipe beside the only one, or the first."""
    from dobby_dagster.inference.models.shipped_models import another_model, shelf

    if not rows:
        return "run dobby summarize with one model and then with another"
    model = another_model(rows[0]["model"])
    if model == "PATH":
        model = next((name for name in shelf() if name != rows[0]["model"]), model)
    return f"summarise with another model, which puts it in use: dobby summarize --model {model}"


def _way_to(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """How to get summaries by a model that has none here, or a name that was probably meant."""
    from dobby_dagster.inference.models.shipped_models import shelf

    if name in shelf():
        return f"summarise with it first, which puts it in use: dobby summarize --model {name}"
    return suggestion(name, {row["model"] for row in rows} | {row["recipe"] for row in rows})


def _labels(*rows: Mapping[str, Any]) -> list[str]:
    """The models' names, with what distinguishes the recipes where the names are equal."""
    names = [str(row["model"]) for row in rows]
    if len(set(names)) == len(names):
        return names
    differences = settings_by_recipe(rows)
    return [f"{row['model']}, {row['prompt']}, {differences[row['recipe']]}" for row in rows]


def _said(text: str, confidence: float | None) -> str:
    return f"{text} ({shown_confidence(confidence)})"


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{value:.0%}"
