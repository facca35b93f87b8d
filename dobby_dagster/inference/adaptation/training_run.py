"""A training run: bounded in time, with checkpoints, and with the weights of the least loss on held-out examples."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from dobby_dagster.inference.adaptation.decoder import NORM, Decoder
from dobby_dagster.inference.adaptation.training_examples import Batch, Example, batch, grouped

# How many of the last layers are trained: docs/adapting.md has what others gave.
TRAINED_LAYERS = 6
WARM_UP, DECAY_FROM = 0.1, 0.4
WEIGHT_DECAY = 0.05
# Evaluations in the whole run, and after how many without a smaller loss it ends.
EVALUATIONS, PATIENCE = 6, 3
# Between two evaluations, updates for each batch of an evaluation at least: so they take a small part of the time.
SPACING = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does.

    Attributes:
        seconds: Its time, that of interrupted parts included.
        epochs: At most.
        rate: Peak learning rate.
        tokens: Of a batch, padding included.
        seed: Decides the batches.
    """

    seconds: float
    epochs: int = 4
    rate: float = 1e-4
    tokens: int = 2048
    seed: int = 0


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        step: Updates so far.
        seconds: Spent so far.
        losses: Of the stopping examples in nats per token, first that of the base.
        best: The index in ``losses`` of the smallest.
        evaluated: The step of the last of them.
    """

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    best: int = 0
    evaluated: int = 0


def rate_share(done: float) -> float:
    """The share of the peak rate when ``done`` of the run, 0 to 1, is over: it warms up, holds, and falls to nothing.

    >>> [rate_share(done) for done in (0.05, 0.1, 0.4, 0.7, 1.0)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    return max(0.0, min(1.0, max(done, 0.01) / WARM_UP, round((1 - done) / (1 - DECAY_FROM), 9)))


class TrainingRun:
    """Trains a decoder.

    Args:
        decoder: Changed in place.
        learned: Examples to learn.
        stopping: Held-out examples; the weights with the least loss on them are kept.
        plan: Time, epochs and rate.
    """

    def __init__(self, decoder: Decoder, learned: Sequence[Example], stopping: Sequence[Example], plan: Plan) -> None:
        self.decoder, self.plan = decoder, plan
        self.progress = Progress()
        self._learned, self._stopping = _Cached(decoder, learned), _Cached(decoder, stopping)
        self._stopping_batches = grouped(self._stopping.lengths, plan.tokens, np.random.default_rng(0))
        vectors = [p for name, p in decoder.parameters.items() if p.ndim == 1 or name == NORM]
        matrices = [p for p in decoder.parameters.values() if p.ndim > 1]
        groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.95))
        self.best = self._copy()
        self._epochs: dict[int, list[np.ndarray]] = {}
        self._size = len(self._epoch(0))

    @property
    def steps(self) -> int:
        """Updates of all epochs; time may allow fewer."""
        return self.plan.epochs * self._size

    @property
    def done(self) -> float:
        """The share of the run that is over, 0 to 1."""
        progress = self.progress
        if progress.seconds >= self.plan.seconds:
            return 1.0
        return min(1.0, max(progress.step / self.steps, progress.seconds / self.plan.seconds))

    def run(self, told: Callable[[TrainingRun], None]) -> None:
        """Train until the epochs or the time are over, or the loss on the stopping examples no longer falls.

        Args:
            told: Called after each update, as for progress and checkpoints.
        """
        progress = self.progress
        if not progress.losses:
            self._evaluate()
        began = time.monotonic() - progress.seconds
        while self.done < 1.0 and len(progress.losses) - 1 - progress.best < PATIENCE:
            epoch, place = divmod(progress.step, self._size)
            self._update(self._learned.batch(self._epoch(epoch)[place]))
            progress.step += 1
            progress.seconds = time.monotonic() - began
            if self.done >= 1.0 or self._evaluation_due():
                self._evaluate()
                progress.seconds = time.monotonic() - began
            told(self)
        self.decoder.take(self.best)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """All that :meth:`restore` needs: tensors by name, and what JSON can hold."""
        tensors = {f"now.{name}": value.detach() for name, value in self.decoder.parameters.items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for name, parameter in self.decoder.parameters.items():
            for part, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"{part}.{name}"] = value
        return tensors, asdict(self.progress)

    def restore(self, tensors: dict[str, torch.Tensor], progress: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken, on the same examples and plan."""
        self.progress = Progress(**progress)
        self.decoder.take({name: tensors[f"now.{name}"] for name in self.decoder.parameters})
        self.best = {name: tensors[f"best.{name}"] for name in self.decoder.parameters}
        parts = ("step", "exp_avg", "exp_avg_sq")
        for name, parameter in self.decoder.parameters.items():
            found = {part: tensors[f"{part}.{name}"] for part in parts if f"{part}.{name}" in tensors}
            if found:
                self._optimizer.state[parameter] = found

    def _epoch(self, number: int) -> list[np.ndarray]:
        """The examples of each batch; every epoch has as many, in another order."""
        if number not in self._epochs:
            rng = np.random.default_rng((self.plan.seed, number))
            self._epochs = {number: grouped(self._learned.lengths, self.plan.tokens, rng)}
        return self._epochs[number]

    def _update(self, one: tuple[torch.Tensor, Batch]) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.plan.rate * rate_share(self.done)
        state, texts = one
        losses = self.decoder.losses(state, torch.from_numpy(texts.places), torch.from_numpy(texts.targets))
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(list(self.decoder.parameters.values()), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _evaluation_due(self) -> bool:
        progress = self.progress
        since = progress.step - progress.evaluated
        return int(self.done * EVALUATIONS) >= len(progress.losses) and since >= SPACING * len(self._stopping_batches)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _evaluate(self) -> None:
        total = count = 0.0
        for members in self._stopping_batches:
            state, texts = self._stopping.batch(members)
            losses = self.decoder.losses(state, torch.from_numpy(texts.places), torch.from_numpy(texts.targets))
            total, count = total + float(losses.sum()), count + len(losses)
        losses_so_far = self.progress.losses
        losses_so_far.append(total / count)
        if losses_so_far[-1] <= losses_so_far[self.progress.best]:
            self.progress.best = len(losses_so_far) - 1
            self.best = self._copy()
        self.progress.evaluated = self.progress.step

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.decoder.parameters.items()}


class _Cached:
    """Examples with what the frozen layers give for them, computed when it is needed first."""

    def __init__(self, decoder: Decoder, examples: Sequence[Example]) -> None:
        self.lengths = [len(one.tokens) for one in examples]
        self._decoder, self._examples = decoder, examples
        self._states: dict[int, torch.Tensor] = {}

    def batch(self, members: np.ndarray) -> tuple[torch.Tensor, Batch]:
        """The states of some examples, padded, and where their losses are."""
        indices = [int(index) for index in members]
        texts = batch([self._examples[index] for index in indices])
        if any(index not in self._states for index in indices):
            for index, state in zip(indices, self._decoder.lower(torch.from_numpy(texts.ids)), strict=True):
                self._states[index] = state[: self.lengths[index]].clone()
        rows = [self._states[index] for index in indices]
        state = rows[0].new_zeros((*texts.ids.shape, rows[0].shape[-1]))
        for row, values in zip(state, rows, strict=True):
            row[: len(values)] = values
        return state, texts
