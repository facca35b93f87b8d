"""What a run with the present model and prompt would touch, before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import fmean

from dobby_dagster.domain.records import readable_text
from dobby_dagster.domain.scope import BatchId, RecipeId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.inference.engine import Request
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source

SAMPLE = 200


@dataclass
class Preview:
    """What is to do, and what it is expected to cost.

    Attributes:
        recipe: The present model and prompt, by identifier.
        model, prompt: The same, for people.
        batches: Batches that hold something to do, with how many records each.
        records: Records to do.
        contents: Different contents among them and the new rows: equal ones are inferred once. Rows that no plan has
            seen count as different.
        prompt_tokens: Expected, of a sample of the contents; None where nothing is to do.
        output_tokens: Expected, at the mean of the summaries that are stored, else at the setting's limit.
        output_is_limit: Whether it is the latter, and so at most.
        seconds: Expected, at the speed that the same model had here before; None where it has not run here.
        waiting: New rows that are in no batch yet; the next run plans them.
        others: Stored summaries under other recipes: identifier, model, prompt, summaries.
    """

    recipe: RecipeId
    model: str
    prompt: str
    batches: dict[BatchId, int] = field(default_factory=dict)
    records: int = 0
    contents: int = 0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    output_is_limit: bool = False
    seconds: float | None = None
    waiting: int = 0
    others: list[tuple[RecipeId, str, str, int]] = field(default_factory=list)


def preview(store: CozoStore, source: Source, settings: Settings, recipe: Recipe, prompt: Prompt) -> Preview:
    """Look, and change nothing.

    Args:
        store: Where states and summaries are.
        source: Where contents are; a sample of them is read and tokenized.
        settings: The present ones.
        recipe: What they amount to.
        prompt: The prompt.
    """
    relation = source.settings.relation
    left = store.states.unfinished(relation, recipe.id, settings.pipeline.max_retries)
    others = [
        (row["recipe"], row["model"], row["prompt"], row["summaries"])
        for row in store.recipes.with_summaries(relation)
        if row["recipe"] != recipe.id
    ]
    found = Preview(recipe.id, recipe.model, recipe.prompt, others=others)
    new = store.reports.overview(source, recipe.id)["unplanned"]
    found.waiting = store.versions.waiting(relation) + new
    if not left and not found.waiting:
        return found
    hashes: set[str] = set()
    keys: list[str] = []
    for batch in left:
        members = store.states.members(Scope(recipe.id, batch))
        runnable = [member.version for member in members if member.is_runnable(batch, settings.pipeline.max_retries)]
        hashes.update(version.content_hash for version in runnable)
        keys += [version.key for version in runnable]
        found.batches |= {batch: len(runnable)} if runnable else {}
    found.records = len(keys)
    if found.waiting:
        keys += [key for page in source.key_pages(5_000) for key in page] if new or not keys else []
    found.contents = len(hashes) + found.waiting
    sample = list(islice(keys, 0, None, max(1, len(keys) // SAMPLE)))
    found.prompt_tokens = round(_mean_tokens(source, sample, settings, prompt) * found.contents)
    rates = store.reports.rates(recipe.model_revision)
    most = settings.inference.within(prompt.max_new_tokens).max_new_tokens
    each = rates.output_tokens if rates.summaries else float(most)
    found.output_tokens, found.output_is_limit = round(each * found.contents), not rates.summaries
    found.seconds = rates.seconds * found.contents if rates.summaries and rates.seconds else None
    return found


def _mean_tokens(source: Source, keys: Sequence[str], settings: Settings, prompt: Prompt) -> float:
    from dobby_dagster.inference.local.prompt_encoding import Encoder
    from dobby_dagster.inference.local.tokenizer import load_tokenizer
    from dobby_dagster.inference.models.model_folder import find_model
    from dobby_dagster.inference.remote.server_engine import CHARACTERS_PER_TOKEN

    if settings.model.url:
        sizes = [len(readable_text(record.content) or "") for record in source.get(list(keys)).values()]
        return fmean(size / CHARACTERS_PER_TOKEN for size in sizes) if sizes else 0.0
    folder = find_model(settings.model)
    inference = settings.inference.within(prompt.max_new_tokens)
    limit = folder.prompt_limit(inference.max_prompt_tokens, inference.max_new_tokens)
    requests = [
        Request(record.key, readable_text(record.content) or "", record.language)
        for record in source.get(list(keys)).values()
    ]
    encoded = Encoder(load_tokenizer(folder), limit).encode(requests, folder.as_read(prompt))
    return fmean(len(one.prompt_ids) for one in encoded) if encoded else 0.0
