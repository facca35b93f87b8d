"""Resources: the database, the model pool, and the pipeline's options."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, PrivateAttr

from dobby_dagster.defs.runs.crash_recovery import owning
from dobby_dagster.domain.keyring import Keyring
from dobby_dagster.domain.settings import (
    DatabaseSettings,
    InferenceSettings,
    ModelSettings,
    PromptSettings,
    SourceSettings,
)

if TYPE_CHECKING:
    from dobby_dagster.domain.summaries import Recipe
    from dobby_dagster.inference.engine import Engine
    from dobby_dagster.inference.prompts import Prompt
    from dobby_dagster.store.cozo_store import CozoStore
    from dobby_dagster.store.source.source_relation import Source


class CozoDatabase(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The CozoDB that holds the records, and gets the summaries.

    The secrets of a server are no part of the configuration, which the UI shows and a launchpad changes: they are in
    the keyring, and go to the address in the settings only.
    """

    url: str = Field(description="sqlite:///PATH, rocksdb:///PATH, mem://NAME or http(s)://HOST:PORT.")
    timeout_seconds: float = Field(30.0, description="Longest wait for one answer of a server.")
    lease_timeout_seconds: float = Field(60.0, description="Longest wait for an embedded database.")
    source: dict[str, Any] = Field(description="Which relation and columns to summarise: the section [source].")
    keyring: dg.ResourceDependency[Keyring]
    _store: Any = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["CozoDatabase"]:
        """Let the run's owner be known while the run lasts: recovery looks for those whose process died."""
        if context.instance is None or context.run is None:
            yield self
            return
        with owning(context.instance, context.run.run_id):
            yield self

    @property
    def store(self) -> "CozoStore":
        """The open store."""
        from dobby_dagster.store.cozo_store import CozoStore

        if self._store is None:
            settings = DatabaseSettings(
                url=self.url,
                **self.keyring.for_database(self.url),
                timeout_seconds=self.timeout_seconds,
                lease_timeout_seconds=self.lease_timeout_seconds,
            )
            self._store = CozoStore.open(settings)
        return self._store  # type: ignore[no-any-return]

    @property
    def source_settings(self) -> SourceSettings:
        """Which relation, and which column is what."""
        return SourceSettings.model_validate(self.source)

    def records(self) -> "Source":
        """The source relation."""
        return self.store.source(self.source_settings)


class ModelPool(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The model, loaded once a run at the first record that needs it, and freed when the run ends."""

    model: dict[str, Any] = Field(description="Path, device, dtype and quantization: the section [model].")
    inference: dict[str, Any] = Field(description="Slots, token budget and generation: the section [inference].")
    prompt: dict[str, Any] = Field(description="Which prompt: the section [prompt].")
    keyring: dg.ResourceDependency[Keyring]
    _engine: Any = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["ModelPool"]:
        """Free the model whatever happens in the run."""
        try:
            yield self
        finally:
            if self._engine is not None:
                self._engine.close()

    @property
    def engine(self) -> "Engine":
        """The engine; its model is loaded by the first use."""
        if self._engine is None:
            from dobby_dagster.inference.engine_selection import engine_for

            url = ModelSettings.model_validate(self.model).url
            settings = ModelSettings.model_validate(self.keyring.for_model(url) | self.model)
            self._engine = engine_for(settings, self.inference_settings)
        return self._engine  # type: ignore[no-any-return]

    @property
    def inference_settings(self) -> InferenceSettings:
        """Slots, budget, generation, within the limit of the prompt."""
        return InferenceSettings.model_validate(self.inference).within(self.chosen_prompt.max_new_tokens)

    @cached_property
    def chosen_prompt(self) -> "Prompt":
        """The prompt in use."""
        from dobby_dagster.inference.prompts import chosen_prompt

        return chosen_prompt(PromptSettings.model_validate(self.prompt))

    @cached_property
    def recipe(self) -> "Recipe":
        """What decides the fingerprints of this run; reads the model's files, loads nothing."""
        from dobby_dagster.inference.recipe import recipe_of

        return recipe_of(ModelSettings.model_validate(self.model), self.inference_settings, self.chosen_prompt)


class PipelineOptions(dg.ConfigurableResource):  # type: ignore[type-arg]
    """How work is cut, and when a failure is too much."""

    batch_size: int = Field(500, description="Records a batch, at most; a batch is a partition.")
    chunk_size: int = Field(60, description="Records a commit, at most.")
    max_retries: int = Field(3, description="Vain tries before a record is quarantined.")
    failed_share_limit: float = Field(0.1, description="Above this share of failures a partition is red.")
    unsure_below: float = Field(0.1, description="A summary of lower confidence is unsure; 0: none is.")
