"""Train the built-in model: Qwen2 architecture, from nothing or from trained weights, resumable at any point.

    python -m training.train --data build/packed --out build/run

The learning rate warms up, holds, then falls linearly to nothing over the last ``--decay`` share of the steps
(warm-up, stable, decay: Hu et al. 2024, arXiv:2404.06395). Matrices are trained by Muon (Jordan et al. 2024), the rest
by AdamW; the weights' exponential average is kept beside them (Morales-Brotons et al. 2024, arXiv:2411.18704) and the
better of the two by validation is written. A checkpoint holds everything: started again with the same arguments,
training goes on where it was. ``before-decay.pt`` is the last checkpoint at the full rate: copied to ``checkpoint.pt``
and started with more steps, training goes on for longer.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from training.model import build_model, load_weights
from training.packing import CODE_TOKENS, SUMMARY_WEIGHT, Batch, Packed, kinds_of_tokens

SECONDS_BETWEEN_CHECKPOINTS = 600
VALIDATION_EXAMPLES = 1_500
WARM_UP_STEPS = 200
AVERAGE = 0.998
# What Dobby reads beside the model: see dobby_dagster/inference/models/model_folder.py.
CARD = {
    "description": "A small model that Dobby trained from scratch on documented source code. It knows one thing: "
    "one sentence on what a piece of code does.",
    "prompts": ["summary"],
    "max_prompt_tokens": CODE_TOKENS + 2,
}
Loss = Callable[[Batch], torch.Tensor]


def optimizers(model: Qwen2ForCausalLM, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings, norms and biases."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def loss_function(model: Qwen2ForCausalLM, compiled: bool) -> Loss:
    """Weighted mean negative log-likelihood of a batch; the head is computed only where there is loss.

    Args:
        model: On its device.
        compiled: Whether to compile the layers, which is worth it from some hundred steps on and needs a C++ compiler
            on a CPU.
    """
    body = torch.compile(model.model, dynamic=True) if compiled else model.model
    device = model.device

    def loss_of(batch: Batch) -> torch.Tensor:
        batch = batch.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            hidden = body(input_ids=batch.ids, use_cache=False).last_hidden_state
            chosen = hidden.reshape(-1, hidden.shape[-1])[batch.positions]
            logits = functional.linear(chosen, model.lm_head.weight)
        losses = functional.cross_entropy(logits.float(), batch.targets, reduction="none")
        return (losses * batch.weights).sum() / batch.weights.sum()

    return loss_of


@torch.no_grad()
def validate(loss_of: Loss, data: Packed) -> float:
    """Mean negative log-likelihood of a summary token over the validation projects, in nats."""
    total = count = 0.0
    for batch in data.epoch(32, seed=0):
        only = batch.weights == SUMMARY_WEIGHT
        part = Batch(batch.ids, batch.positions[only], batch.targets[only], batch.weights[only])
        total += float(loss_of(part)) * int(only.sum())
        count += int(only.sum())
    return total / count


def learning_rate(step: int, steps: int, decay: float) -> float:
    """The share of the peak rate at ``step``: linear up, hold, linear down."""
    down = (steps - step) / max(1.0, steps * decay)
    return max(0.0, min(1.0, (step + 1) / WARM_UP_STEPS, down))


class Training:
    """A run that can be stopped at any step and goes on from its last checkpoint.

    Args:
        arguments: The parsed command line.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.out: Path = arguments.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.checkpoint = self.out / "checkpoint.pt"
        torch.manual_seed(arguments.seed)
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.data / "tokenizer")
        self.model = build_model(self.tokenizer, arguments.hidden, arguments.layers, arguments.device)
        if arguments.weights:
            load_weights(self.model, self.tokenizer, arguments.weights)
        self.average = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        self.loss_of = loss_function(self.model, arguments.compile)
        self.optimizers = optimizers(self.model, arguments.rate)
        self.train = Packed(arguments.data / "train.npz", kinds_of_tokens(self.tokenizer))
        self.held_out = Packed(arguments.data / "validation.npz", most=VALIDATION_EXAMPLES)
        self.step = self.tokens = self.epoch = self.position = 0
        self.seconds = 0.0
        self.losses: list[torch.Tensor] = []
        self.began = self.saved = time.time()
        self._restore()

    def run(self) -> None:
        """Train to the last step and write the better of the weights and their average, in bfloat16."""
        print(f"{sum(p.numel() for p in self.model.parameters()):,} parameters, from step {self.step}", flush=True)
        with (self.out / "log.jsonl").open("a") as log:
            while self.step < self.arguments.steps:
                self._epoch(log)
        last, averaged = validate(self.loss_of, self.held_out), self._validate_average()
        print(f"validation: {last:.4f}; of the averaged weights: {averaged:.4f}", flush=True)
        if averaged < last:
            self._swap()
        self.model.to(torch.bfloat16).save_pretrained(self.out / "model")
        self.tokenizer.save_pretrained(self.out / "model")
        (self.out / "model" / "dobby.json").write_text(json.dumps(CARD, indent=2) + "\n")

    def _epoch(self, log: TextIO) -> None:
        for index, batch in enumerate(self.train.epoch(self.arguments.batch, seed=self.arguments.seed + self.epoch)):
            if index < self.position:
                continue
            self._update(batch)
            self.position = index + 1
            self._record(log)
            if self.step >= self.arguments.steps:
                return
        self.epoch, self.position = self.epoch + 1, 0

    def _update(self, batch: Batch) -> None:
        rate = self.arguments.rate * learning_rate(self.step, self.arguments.steps, self.arguments.decay)
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = rate
        loss = self.loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        with torch.no_grad():
            parameters = dict(self.model.named_parameters())
            share = max(1 - AVERAGE, 1 / self.step)
            torch._foreach_lerp_(list(self.average.values()), [parameters[name] for name in self.average], share)
        self.tokens += batch.ids.numel()
        self.losses.append(loss.detach())

    def _record(self, log: TextIO) -> None:
        due = time.time() - self.saved > SECONDS_BETWEEN_CHECKPOINTS or self.step == self.arguments.steps
        turning = self.step == self.arguments.steps - int(self.arguments.steps * self.arguments.decay)
        if self.step % 100 and not due and not turning:
            return
        row: dict[str, Any] = {"step": self.step, "tokens": self.tokens, "loss": float(torch.stack(self.losses).mean())}
        row["seconds"] = round(self.seconds + time.time() - self.began)
        if due or turning:
            row["validation"], row["averaged"] = validate(self.loss_of, self.held_out), self._validate_average()
            self._save()
        if turning:
            shutil.copyfile(self.checkpoint, self.out / "before-decay.pt")
        print(json.dumps(row), file=log, flush=True)
        self.losses = []

    def _validate_average(self) -> float:
        self._swap()
        loss = validate(self.loss_of, self.held_out)
        self._swap()
        return loss

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange the weights and their average."""
        for name, parameter in self.model.named_parameters():
            kept = parameter.clone()
            parameter.copy_(self.average[name])
            self.average[name].copy_(kept)

    def _save(self) -> None:
        """Write a checkpoint whole or not at all."""
        state: dict[str, Any] = {name: getattr(self, name) for name in ("step", "tokens", "epoch", "position")}
        state |= {"model": self.model.state_dict(), "average": self.average}
        state |= {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}
        state["seconds"] = self.seconds + time.time() - self.began
        torch.save(state, self.checkpoint.with_suffix(".part"))
        os.replace(self.checkpoint.with_suffix(".part"), self.checkpoint)
        self.saved = time.time()

    def _restore(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True, map_location=self.model.device)
        self.model.load_state_dict(state["model"])
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for name in ("step", "tokens", "epoch", "position", "seconds"):
            setattr(self, name, state[name])


def default_device() -> str:
    """CUDA, else Metal, else the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/packed"))
    parser.add_argument("--out", type=Path, default=Path("build/run"))
    parser.add_argument("--steps", type=int, default=46_000)
    parser.add_argument("--decay", type=float, default=0.4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--weights", type=Path, help="a trained model's folder to begin with, instead of nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    try:
        training = Training(parser.parse_args())
    except ValueError as error:
        raise SystemExit(str(error)) from None
    training.run()


if __name__ == "__main__":
    main()
