"""What a run with the current model and prompt would process and cost, estimated without changing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import fmean

from dobby_dagster.domain.records import RecordVersion, readable_text
from dobby_dagster.domain.scope import BatchId, RecipeId, Scope
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.inference.engine import Request
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.pipeline.planning.differences import edited
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.source.source_relation import Source

SAMPLE = 200


@dataclass
class Preview:
    """Pending records, and the estimated cost of a run.

    Attributes:
        recipe: Identifier of the current model and prompt.
        model, prompt: Their names.
        batches: Batches with runnable records, and how many each has.
        records: Runnable records in all batches.
        contents: Distinct contents among them and the waiting rows: equal ones are inferred once. Those that
            are in no batch yet count as distinct.
        prompt_tokens: Estimated from a sample of the contents; None where nothing is pending.
        output_tokens: Estimated from the mean of the stored summaries, else from the token limit.
        output_is_limit: Whether ``output_tokens`` is an upper bound from the token limit.
        seconds: Estimated from the speed that the same model had here before; None where it has not run here.
        waiting: New and changed rows that are in no batch yet; the next run plans them.
        others: Stored summaries under other recipes: identifier, model, prompt, number of summaries.
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
    """Estimate what a run would process; nothing is changed.

    Args:
        store: Where states and summaries are.
        source: Where contents are; a sample of them is read and tokenized.
        settings: The current settings.
        recipe: Their recipe.
        prompt: Their prompt.
    """
    relation, max_retries = source.settings.relation, settings.pipeline.max_retries
    unfinished = store.states.unfinished(relation, recipe.id, max_retries)
    others = [
        (row["recipe"], row["model"], row["prompt"], row["summaries"])
        for row in store.recipes.with_summaries(relation)
        if row["recipe"] != recipe.id
    ]
    found = Preview(recipe.id, recipe.model, recipe.prompt, others=others)
    unplanned = store.reports.overview(source, recipe.id)["unplanned"]
    changed = edited(store, source)
    outdated = {version.key for version in changed}
    found.waiting = unplanned + len(outdated.union(key for _, key in store.versions.waiting_keys(relation)))
    if not unfinished and not found.waiting:
        return found
    versions: list[RecordVersion] = []
    for batch in unfinished:
        members = store.states.members(Scope(recipe.id, batch))
        runnable = [member.version for member in members if member.is_runnable(batch, max_retries)]
        runnable = [version for version in runnable if version.key not in outdated]
        found.batches |= {batch: len(runnable)} if runnable else {}
        versions += runnable
    found.records = len(versions)
    keys = [version.key for version in [*versions, *changed]]
    if unplanned or (found.waiting and not keys):
        keys += [key for page in source.key_pages(5_000) for key in page]
    known = {version.content_hash for version in [*versions, *changed]}
    found.contents = len(known) + found.waiting - len(changed)
    sample = list(islice(keys, 0, None, max(1, len(keys) // SAMPLE)))
    found.prompt_tokens = round(_mean_tokens(source, sample, settings, prompt) * found.contents)
    rates = store.reports.rates(recipe.model_revision)
    limit = settings.inference.within(prompt.max_new_tokens).max_new_tokens
    per_content = rates.output_tokens if rates.summaries else float(limit)
    found.output_tokens, found.output_is_limit = round(per_content * found.contents), not rates.summaries
    found.seconds = rates.seconds * found.contents if rates.summaries and rates.seconds else None
    return found


def _mean_tokens(source: Source, keys: Sequence[str], settings: Settings, prompt: Prompt) -> float:
    from dobby_dagster.inference.local.prompt_encoding import Encoder
    from dobby_dagster.inference.local.tokenizer import load_tokenizer
    from dobby_dagster.inference.models.model_lookup import find_model
    from dobby_dagster.inference.remote.server_engine import CHARACTERS_PER_TOKEN

    if settings.model.url:
        sizes = [len(readable_text(record.content) or "") for record in source.get(list(keys)).values()]
        return fmean(size / CHARACTERS_PER_TOKEN for size in sizes) if sizes else 0.0
    model = find_model(settings.model)
    inference = settings.inference.within(prompt.max_new_tokens)
    limit = model.prompt_limit(inference.max_prompt_tokens, inference.max_new_tokens)
    requests = [
        Request(record.key, readable_text(record.content) or "", record.language)
        for record in source.get(list(keys)).values()
    ]
    encoded = Encoder(load_tokenizer(model), limit).encode(requests, model.as_read(prompt))
    return fmean(len(one.prompt_ids) for one in encoded) if encoded else 0.0
