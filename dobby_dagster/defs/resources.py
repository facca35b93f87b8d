"""Resources: the database, the model pool, and the pipeline's options."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr

from dobby_dagster.defs.runs.crash_recovery import owning
from dobby_dagster.defs.section_config import section_config, section_of
from dobby_dagster.domain.contract_settings import ContractSettings
from dobby_dagster.domain.keyring import Keyring
from dobby_dagster.domain.settings import (
    DatabaseSettings,
    InferenceSettings,
    ModelSettings,
    PipelineSettings,
    PromptSettings,
    Settings,
    SourceSettings,
)

if TYPE_CHECKING:
    from dobby_dagster.domain.summaries import Recipe
    from dobby_dagster.inference.engine import Engine
    from dobby_dagster.inference.prompts import Prompt
    from dobby_dagster.store.cozo_store import CozoStore
    from dobby_dagster.store.source.source_relation import Source


class SourceConfig(section_config(SourceSettings)):  # type: ignore[misc]
    """The section ``[source]`` of the settings."""


class ModelConfig(section_config(ModelSettings)):  # type: ignore[misc]
    """The section ``[model]``, without its secrets."""


class InferenceConfig(section_config(InferenceSettings)):  # type: ignore[misc]
    """The section ``[inference]``."""


class PromptConfig(section_config(PromptSettings)):  # type: ignore[misc]
    """The section ``[prompt]``."""


class CozoDatabase(section_config(DatabaseSettings, dg.ConfigurableResource)):  # type: ignore[misc]
    """The CozoDB that holds the records, and gets the summaries.

    The secrets of a server are no part of the configuration, which the UI shows and a launchpad changes: they are in
    the keyring, and go to the address in the settings only.
    """

    source: SourceConfig = Field(default=SourceConfig(), description="Which relation and columns to summarise.")
    keyring: dg.ResourceDependency[Keyring]
    _store: "CozoStore | None" = PrivateAttr(default=None)

    @classmethod
    def of(cls, settings: Settings) -> "CozoDatabase":
        """The database of ``settings``."""
        return cls(keyring=Keyring(settings))

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["CozoDatabase"]:
        """Register the run's owner while the run lasts: recovery looks for owners whose process died."""
        if context.instance is None or context.run is None:
            yield self
            return
        with owning(context.instance, context.run.run_id, self.settings, self.keyring.settings.pipeline.claim_seconds):
            yield self

    @property
    def store(self) -> "CozoStore":
        """The open store."""
        from dobby_dagster.store.cozo_store import CozoStore

        if self._store is None:
            # A run summarises what is there: an empty database in place of a lost one would hide the loss.
            self._store = CozoStore.open(self.settings, create=False)
        return self._store

    @property
    def settings(self) -> DatabaseSettings:
        """Where the database is, and the secrets for that address."""
        settings = section_of(self.keyring.settings.database, self)
        return section_of(settings, self, **self.keyring.for_database(settings.url))

    @property
    def source_settings(self) -> SourceSettings:
        """Which relation, and which column is what."""
        return section_of(self.keyring.settings.source, self.source)

    def records(self) -> "Source":
        """The source relation."""
        return self.store.source(self.source_settings)


class ModelPool(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The model: loaded at the first record that needs it, and kept for the next run of the same process."""

    model: ModelConfig = Field(
        default=ModelConfig(), description="Path, device, dtype and quantization, or a model server."
    )
    inference: InferenceConfig = Field(default=InferenceConfig(), description="Slots, token budget and generation.")
    prompt: PromptConfig = Field(default=PromptConfig(), description="Which prompt.")
    keyring: dg.ResourceDependency[Keyring]

    @classmethod
    def of(cls, settings: Settings) -> "ModelPool":
        """The model of ``settings``."""
        return cls(keyring=Keyring(settings))

    @contextmanager
    def engine(self) -> Iterator["Engine"]:
        """An engine for the block alone; its model is loaded by the first use, unless an earlier run did.

        Raises:
            ModelError: The model can't be used, or its files have changed since :attr:`recipe` was computed.
        """
        from dobby_dagster.inference.engine_pool import POOL

        model = section_of(self.model_settings, self.model, **self.keyring.for_model(self.model_settings.url))
        with POOL.lend(model, self.inference_settings, self.recipe.model_revision) as engine:
            yield engine

    @property
    def model_settings(self) -> ModelSettings:
        """Which model, or which server; without secrets."""
        return section_of(self.keyring.settings.model, self.model)

    @property
    def inference_settings(self) -> InferenceSettings:
        """Slots, budget, generation, within the limit of the prompt."""
        return section_of(self.keyring.settings.inference, self.inference).within(self.chosen_prompt.max_new_tokens)

    @property
    def stall_seconds(self) -> float:
        """Seconds without a token after which a run has stalled; a model server may use all of its time limit."""
        model, seconds = self.model_settings, section_of(self.keyring.settings.inference, self.inference).stall_seconds
        return max(seconds, model.timeout_seconds + 60.0) if model.url and seconds else seconds

    @cached_property
    def chosen_prompt(self) -> "Prompt":
        """The prompt in use."""
        from dobby_dagster.inference.prompts import chosen_prompt

        return chosen_prompt(section_of(self.keyring.settings.prompt, self.prompt))

    @cached_property
    def content_room(self) -> int:
        """Characters of a content that the model reads whole."""
        from dobby_dagster.inference.content_room import content_room

        return content_room(self.model_settings, self.inference_settings, self.chosen_prompt)

    @cached_property
    def recipe(self) -> "Recipe":
        """What decides the fingerprints of this run; reads the model's files, loads nothing."""
        from dobby_dagster.inference.recipe import recipe_of

        callees = section_of(self.keyring.settings.prompt, self.prompt).callees
        return recipe_of(self.model_settings, self.inference_settings, self.chosen_prompt, callees)


class PipelineOptions(section_config(PipelineSettings, dg.ConfigurableResource)):  # type: ignore[misc]
    """Sizes of batches and chunks, and the limits on failures."""

    keyring: dg.ResourceDependency[Keyring]

    @classmethod
    def of(cls, settings: Settings) -> "PipelineOptions":
        """The options of ``settings``."""
        return cls(keyring=Keyring(settings))

    @property
    def settings(self) -> PipelineSettings:
        """The options in use."""
        return section_of(self.keyring.settings.pipeline, self)


class ContractLimits(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The section ``[contracts]``; no part of a run's configuration, so that a launchpad does not show every limit."""

    settings: dg.ResourceDependency[ContractSettings]
