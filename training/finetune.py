"""Make the built-in model out of a pretrained one: teach it the work, then make a smaller one that answers as it does.

    python -m training.finetune --base build/base --data build/examples --out build/run --seconds 540

First all layers are fine-tuned: that is the teacher. Then a copy of it loses the layers that it can do without (see
:mod:`training.layer_pruning`), and learns from the teacher's probabilities as much as from the authors' sentences
(Hinton et al. 2015, arXiv:1503.02531; for pruned language models Muralidharan et al. 2024, arXiv:2407.14679). In both
parts the rate warms up, holds, and falls linearly to nothing (Hu et al. 2024, arXiv:2404.06395); it follows the time
that is given, so that the same command fills nine minutes of a GPU or a day of two cores (or the steps, with
``--steps``). A checkpoint holds everything, and the same command goes on with it. The result is written in int8 with
a scale for each row.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from training.batches import Batch, Examples
from training.int8_folder import write_model
from training.layer_pruning import influence, least_needed
from training.llama import Llama, load

# The share of the time in which the teacher is taught.
TEACHING = 0.35
WARM_UP, DECAY_FROM = 0.03, 0.4
# The share of the teacher's probabilities, beside the author's sentence, in what the smaller model learns.
SOFT_SHARE = 0.7
CODE_WEIGHT = (0.3, 0.05)
SECONDS_BETWEEN_CHECKPOINTS = 120.0
VALIDATION_BATCHES = 8


def rate_share(done: float) -> float:
    """The share of the peak rate when ``done`` of the time, 0 to 1, is over."""
    part = done / TEACHING if done < TEACHING else (done - TEACHING) / (1 - TEACHING)
    return max(0.0, min(1.0, (part + 0.002) / WARM_UP, (1 - part) / (1 - DECAY_FROM)))


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence in nats of ``student`` from ``teacher``, logits of (tokens, vocabulary) each.

    >>> logits = torch.tensor([[0.0, 1.0]])
    >>> float(divergence(logits, logits + 3.0))
    0.0
    """
    log_student, log_teacher = student.float().log_softmax(-1), teacher.float().log_softmax(-1)
    return functional.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(-1)


class _Epochs(Dataset[Batch]):
    """All batches of one epoch, for worker processes."""

    def __init__(self, examples: Examples, epoch: int, seed: int) -> None:
        self.examples, self.seed = examples, seed * 1_000 + epoch
        self.batches = examples.epoch(self.seed)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.examples.batch(self.batches[index], self.seed * 100_003 + index)


class Finetuning:
    """A run, from its beginning or from its last checkpoint.

    Args:
        arguments: The parsed command line.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.began = time.time()
        self.out: Path = arguments.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.device = torch.device(arguments.device)
        torch.manual_seed(arguments.seed)
        self.model = load(arguments.base, compiled=arguments.compile).to(self.device)
        self.teacher: Llama | None = None
        self.examples = Examples(arguments.data / "train.npz", arguments.tokens)
        held_out = Examples(arguments.data / "validation.npz", arguments.tokens)
        chosen = held_out.epoch(0)[:VALIDATION_BATCHES]
        self.held_out = [held_out.batch(members, 0, learning=False) for members in chosen]
        self.step = self.tokens = self.epoch = self.position = 0
        self.dropped: list[int] = []
        self.before = 0.0
        self._restore()
        self.saved = time.time()

    @property
    def done(self) -> float:
        """The share of the steps, or else of the time, that is over."""
        if self.arguments.steps:
            return min(1.0, self.step / self.arguments.steps)
        return min(1.0, (self.before + time.time() - self.began) / self.arguments.seconds)

    def run(self) -> None:
        """Train until the time is over, and write the model."""
        with (self.out / "log.jsonl").open("a") as log:
            self._record(log, [])
            losses: list[torch.Tensor] = []
            for batch in self._batches():
                losses.append(self._update(batch))
                if self.step % self.arguments.every == 0:
                    self._record(log, losses)
                    losses = []
                if self.teacher is None and self.done >= TEACHING:
                    self._record(log, losses)
                    losses = []
                    self._prune(log)
                if time.time() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
                    self._save()
                if self.done >= 1.0:
                    break
            self._record(log, losses)
        self._save()
        write_model(self.model, self.arguments.base, self.out / "model")

    def _batches(self) -> Iterator[Batch]:
        while True:
            epoch = _Epochs(self.examples, self.epoch, self.arguments.seed)
            order = range(self.position, len(epoch))
            loader = DataLoader(
                epoch,
                batch_size=None,
                sampler=order,
                num_workers=self.arguments.workers,
                collate_fn=lambda batch: batch,
            )
            for batch in loader:
                self.position += 1
                yield batch
            self.epoch, self.position = self.epoch + 1, 0

    def _update(self, batch: Batch) -> torch.Tensor:
        done = self.done
        peak = self.arguments.teaching_rate if self.teacher is None else self.arguments.rate
        for group in self.optimizer.param_groups:
            group["lr"] = peak * group["share"] * rate_share(done)
        state, places, targets = self._computed(self.model, batch, batch.spoken)
        logits = self.model.logits(state, places)
        losses = functional.cross_entropy(logits.float(), targets, reduction="none")
        wanted = losses
        if self.teacher is not None:
            with torch.no_grad():
                taught, _, _ = self._computed(self.teacher, batch, batch.spoken)
                soft = self.teacher.logits(taught, places)
            wanted = SOFT_SHARE * divergence(logits, soft) + (1 - SOFT_SHARE) * losses
        code_places, code_targets = self._on_device(batch.places[~batch.spoken], batch.targets[~batch.spoken])
        weight = CODE_WEIGHT[0] + done * (CODE_WEIGHT[1] - CODE_WEIGHT[0])
        code = functional.cross_entropy(self.model.logits(state, code_places).float(), code_targets, reduction="sum")
        ((wanted.sum() + weight * code) / (len(wanted) + weight * len(code_targets))).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += batch.rows * batch.length
        return losses.detach().mean()

    def _on_device(self, *arrays: np.ndarray) -> list[torch.Tensor]:
        return [torch.from_numpy(array).to(self.device, non_blocking=True) for array in arrays]

    def _computed(
        self, model: Llama, batch: Batch, chosen: np.ndarray, without: int = -1
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What ``model`` gives for each token, and the ``chosen`` places and targets of the batch."""
        ids, positions, places, targets = self._on_device(
            batch.ids, batch.positions, batch.places[chosen], batch.targets[chosen]
        )
        return model.hidden(ids, positions, batch.rows, batch.length, without)[-1], places, targets

    @torch.no_grad()
    def _validate(self, batches: list[Batch], without: int = -1) -> float:
        """Mean loss of a summary token, in nats."""
        total = count = 0.0
        for batch in batches:
            state, places, targets = self._computed(self.model, batch, batch.spoken, without)
            total += float(functional.cross_entropy(self.model.logits(state, places).float(), targets, reduction="sum"))
            count += len(targets)
        return total / count

    @torch.no_grad()
    def _prune(self, log: TextIO) -> None:
        """Make the model the teacher, and a copy with fewer layers the model."""
        self.teacher = copy.deepcopy(self.model).requires_grad_(False)
        torch.save(self.teacher.named(), self.out / "teacher.pt")
        kept, batch = list(range(len(self.model.layers))), self.held_out[0]
        while len(kept) > self.arguments.layers:
            ids, positions = self._on_device(batch.ids, batch.positions)
            influences = influence(self.model.hidden(ids, positions, batch.rows, batch.length))
            least, loss = least_needed(influences, lambda index: self._validate([batch], index))
            self.model.layers = torch.nn.ModuleList(
                layer for index, layer in enumerate(self.model.layers) if index != least
            )
            self.dropped.append(kept.pop(least))
            self._write(log, {"dropped": self.dropped[-1], "loss": round(loss, 4), "step": self.step})
        self.optimizer = self._optimizer()
        self._save()

    def _record(self, log: TextIO, losses: list[torch.Tensor]) -> None:
        row: dict[str, Any] = {name: getattr(self, name) for name in ("step", "epoch", "tokens")}
        row["seconds"] = round(self.before + time.time() - self.began, 1)
        row["layers"] = len(self.model.layers)
        if losses:
            row["loss"] = round(float(torch.stack(losses).mean()), 4)
        self._write(log, row | {"validation": round(self._validate(self.held_out), 4)})

    @staticmethod
    def _write(log: TextIO, row: dict[str, Any]) -> None:
        print(json.dumps(row), file=log, flush=True)
        print(row, flush=True)

    def _save(self) -> None:
        """Write a checkpoint whole or not at all."""
        state: dict[str, Any] = {
            name: getattr(self, name) for name in ("step", "tokens", "epoch", "position", "dropped")
        }
        state["before"] = self.before + time.time() - self.began
        state["model"] = {name: value.detach() for name, value in self.model.named().items()}
        state["optimizer"] = [self.optimizer.state[p] for p in self.model.named().values() if p in self.optimizer.state]
        torch.save(state, self.out / "checkpoint.part")
        os.replace(self.out / "checkpoint.part", self.out / "checkpoint.pt")
        self.saved = time.time()

    def _restore(self) -> None:
        file = self.out / "checkpoint.pt"
        state = torch.load(file, weights_only=True, map_location=self.device) if file.exists() else None
        if state:
            for name in ("step", "tokens", "epoch", "position", "dropped", "before"):
                setattr(self, name, state[name])
            if self.dropped:
                self.teacher = copy.deepcopy(self.model).requires_grad_(False)
                self.teacher.take(torch.load(self.out / "teacher.pt", weights_only=True, map_location=self.device))
            kept = [layer for at, layer in enumerate(self.model.layers) if at not in self.dropped]
            self.model.layers = torch.nn.ModuleList(kept)
            self.model.take(state["model"])
        self.optimizer = self._optimizer()
        if state:
            for parameter, values in zip(
                self.model.named().values(), state["optimizer"], strict=bool(state["optimizer"])
            ):
                self.optimizer.state[parameter] = values

    def _optimizer(self) -> torch.optim.Optimizer:
        matrices = [p for p in self.model.layers.parameters() if p.ndim == 2]
        vectors = [self.model.norm, *(p for p in self.model.layers.parameters() if p.ndim == 1)]
        groups = [
            {"params": matrices, "share": 1.0, "weight_decay": 0.05},
            {"params": [self.model.embedding], "share": 0.5, "weight_decay": 0.0},
            {"params": vectors, "share": 0.5, "weight_decay": 0.0},
        ]
        fused = self.device.type == "cuda"
        return torch.optim.AdamW(groups, lr=self.arguments.rate, betas=(0.9, 0.95), eps=1e-8, fused=fused)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=Path("build/base"))
    parser.add_argument("--data", type=Path, default=Path("build/examples"))
    parser.add_argument("--out", type=Path, default=Path("build/run"))
    parser.add_argument("--seconds", type=float, default=20 * 3600, help="for all of it, checkpoints included")
    parser.add_argument("--steps", type=int, default=0, help="updates to make, instead of a time to fill")
    parser.add_argument("--layers", type=int, default=18)
    parser.add_argument("--tokens", type=int, default=65_536, help="of a batch, padding included")
    parser.add_argument("--teaching-rate", type=float, default=3e-4, help="peak, while all layers are there")
    parser.add_argument("--rate", type=float, default=5e-4, help="peak, of the smaller model")
    parser.add_argument("--every", type=int, default=200, help="steps between two lines of the log")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    Finetuning(parser.parse_args()).run()


if __name__ == "__main__":
    main()
