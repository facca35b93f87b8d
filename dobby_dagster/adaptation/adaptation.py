"""One adaptation, step by step: examples, training, comparison, and the folder of the model that is better."""

from __future__ import annotations

import gc
import hashlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dobby_dagster.adaptation.adapted_card import AdaptedFrom, adapted_card, read_me
from dobby_dagster.adaptation.comparison import Answers, Comparison, compare, scores
from dobby_dagster.adaptation.documented_records import DocumentedRecord, Split
from dobby_dagster.adaptation.recalibration import recalibrated
from dobby_dagster.adaptation.work_folder import WorkFolder
from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.settings import Settings
from dobby_dagster.inference.engine_selection import engine_for
from dobby_dagster.inference.models.model_card import CARD
from dobby_dagster.inference.models.model_folder import ModelFolder
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.models.reliability import RELIABILITY
from dobby_dagster.inference.optional_packages import missing
from dobby_dagster.inference.prompts import chosen_prompt
from dobby_dagster.pipeline.summarization.text_attempts import text_attempts

if TYPE_CHECKING:
    from dobby_dagster.inference.adaptation.training_run import TrainingRun

SECONDS_BETWEEN_CHECKPOINTS = 60.0
# Functions that come a second time with their documentation in place, as most records have it: copying is kept.
DOCUMENTED_SHARE = 0.35


@dataclass(frozen=True, slots=True)
class Adapted:
    """What came of an adaptation.

    Attributes:
        comparison: Of both models on the held-out functions.
        losses: Of the stopping examples, in nats per token: of the base, and of what was kept of the training.
        seconds: Of training.
        recalibrated: Whether the confidence was calibrated again; else it is the base's.
        kept: The folder of the adapted model; None where it was not better, and was deleted.
    """

    comparison: Comparison
    losses: tuple[float, float]
    seconds: float
    recalibrated: bool
    kept: Path | None


class Adaptation:
    """The steps, in order: :meth:`require`, :meth:`train`, :meth:`judge`.

    Args:
        settings: The model to start from, the prompt, and how summaries are generated.
        split: The documented functions.
        out: The folder of the adapted model.
        seconds: Of training, interrupted parts included.
        seed: Decides the examples and their order.
    """

    def __init__(self, settings: Settings, split: Split, out: Path, *, seconds: float, seed: int) -> None:
        self.settings, self.split, self.seconds, self.seed = settings, split, seconds, seed
        self.prompt = chosen_prompt(settings.prompt)
        self.folder = WorkFolder(out)
        self.source = _base(settings)
        self._run: TrainingRun | None = None

    @property
    def task(self) -> str:
        """Names all that decides the training but its time: a checkpoint is of use to the same task only."""
        from dobby_dagster.inference.adaptation.training_run import Plan

        parts = (self.source.revision, self.split.digest, self.prompt.name, self.prompt.text, Plan(0.0, seed=self.seed))
        return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()

    def require_possible(self, *, force: bool) -> None:
        """Check all that can be checked before anything is written.

        Raises:
            SourceError: There are too few documented functions.
            ModelError: The output folder exists.
        """
        self.split.require_enough()
        self.source.require_prompt(self.prompt)
        self.folder.require_free(force=force)

    def begin(self, *, force: bool) -> bool:
        """Begin in a folder that is held; returns whether an interrupted training is gone on with.

        Raises:
            SourceError: See :meth:`require_possible`.
            ModelError: See :meth:`require_possible`; or something else is in the way.
        """
        self.require_possible(force=force)
        return self.folder.begin(self.task)

    def train(self, told: Callable[[float], None]) -> None:
        """Train, with a checkpoint a minute.

        Args:
            told: Called with the share of the training that is over, 0 to 1.
        """
        from dobby_dagster.inference.adaptation.checkpoint_file import read_checkpoint, save_checkpoint
        from dobby_dagster.inference.adaptation.decoder import load_decoder
        from dobby_dagster.inference.adaptation.training_examples import encoded, within
        from dobby_dagster.inference.adaptation.training_run import TRAINED_LAYERS, Plan, TrainingRun

        limit = self.source.prompt_limit(self.settings.inference.max_prompt_tokens, self.prompt.max_new_tokens)
        learned, stopping = (
            encoded(self.source, self.prompt, limit, texts)
            for texts in (_texts(self.split.learned, self.seed), _bare(self.split.stopping))
        )
        decoder = load_decoder(self.source, TRAINED_LAYERS)
        learned = within(learned, decoder.bytes_per_token, self.seed)
        run = TrainingRun(decoder, learned, stopping, Plan(self.seconds, seed=self.seed))
        if self.folder.checkpoint.is_file():
            run.restore(*read_checkpoint(self.folder.checkpoint))
        saved = time.monotonic()

        def note(run: TrainingRun) -> None:
            nonlocal saved
            told(run.done)
            if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                save_checkpoint(self.folder.checkpoint, *run.state())
                saved = time.monotonic()

        run.run(note)
        save_checkpoint(self.folder.checkpoint, *run.state())
        self._run = run

    def judge(self, told: Callable[[], object]) -> Adapted:
        """Compare both models, and keep the adapted one if it is better by more than the noise; else delete it.

        Args:
            told: Called for each summary.

        Raises:
            ModelError: A model can't be used, or the folder can't be written.
        """
        from dobby_dagster.inference.adaptation.decoder import trained_weights
        from dobby_dagster.inference.adaptation.trained_folder import write_trained_folder

        run = self._run
        if run is None:
            raise RuntimeError("train() comes first")
        progress = run.progress
        write_trained_folder(trained_weights(self.source, run.decoder), self.source, self.folder.model)
        self._run = run = None
        gc.collect()
        records = self.split.judged
        before = self._answers(self.settings.model.path, told)
        after = self._answers(str(self.folder.model), told)
        found = compare(scores(records, before), scores(records, after))
        losses = progress.losses[0], progress.losses[progress.best]
        if not found.better:
            self.folder.delete()
            return Adapted(found, losses, progress.seconds, False, None)
        fitted = recalibrated(records, after, self.source.calibration)
        calibration, reliability = fitted or (self.source.calibration, None)
        origin = AdaptedFrom(self.source.name, self.source.revision, self.source.shipped, self.split, found, self.seed)
        card = adapted_card(self.source.card, origin, calibration)
        (self.folder.model / CARD).write_text(card)
        (self.folder.model / "README.md").write_text(read_me(self.folder.out.name, origin, fitted is not None))
        if reliability:
            (self.folder.model / RELIABILITY).write_text(reliability.model_dump_json(indent=1) + "\n")
        self.folder.place()
        return Adapted(found, losses, progress.seconds, fitted is not None, self.folder.out)

    def _answers(self, path: str, told: Callable[[], object]) -> Answers:
        model = self.settings.model.model_copy(update={"path": path})
        inference = self.settings.inference.within(self.prompt.max_new_tokens)
        engine = engine_for(model, inference)
        try:
            groups = []
            for texts in (_bare(self.split.judged), _documented(self.split.judged)):
                contents = [(content, language) for content, language, _ in texts]
                found = text_attempts(engine, self.prompt, contents, inference.second_try, told)
                groups.append([found.get(index) for index in range(len(contents))])
            return Answers(*groups)
        finally:
            engine.close()


def _base(settings: Settings) -> ModelFolder:
    """The model to start from.

    Raises:
        ModelError: torch is missing, or it is on a server, or no model folder.
    """
    if reason := missing("torch"):
        raise ModelError(f"training needs torch: {reason}")
    if settings.model.url:
        raise ModelError(
            f"the model {settings.model.served_name} is on a server and can't be adapted", hint="name one by --model"
        )
    source = find_model(settings.model)
    if not isinstance(source, ModelFolder):
        raise ModelError(f"{source.path} is no model folder and can't be adapted", hint="name a folder by --model")
    return source


def _texts(records: Sequence[DocumentedRecord], seed: int) -> list[tuple[str, str, str]]:
    """Every function without its documentation, and a share of them with it as well."""
    draw = random.Random(seed)
    some = [one for one in records if draw.random() < DOCUMENTED_SHARE]
    return [*_bare(records), *_documented(some)]


def _bare(records: Sequence[DocumentedRecord]) -> list[tuple[str, str, str]]:
    return [(one.parts.code, one.language, one.parts.sentence) for one in records]


def _documented(records: Sequence[DocumentedRecord]) -> list[tuple[str, str, str]]:
    return [(one.parts.documented, one.language, one.parts.sentence) for one in records]
