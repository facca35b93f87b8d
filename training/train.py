"""Train the built-in model: Qwen2 architecture, from nothing, resumable at any point.

    python -m training.train --data build/packed --out build/run --steps 20000

The learning rate warms up, holds, then falls linearly to nothing over the last ``--decay`` share of the
steps (warm-up, stable, decay: Hu et al. 2024, arXiv:2404.06395). Matrices are trained by Muon
(Jordan et al. 2024), the rest by AdamW. A checkpoint holds everything: started again with the same
arguments, training goes on where it was; started with more steps, it goes on for longer.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from training.prepare import CODE_TOKENS, SUMMARY_TOKENS

SUMMARY_WEIGHT = 1.0
CODE_WEIGHT = 0.3
CODE_SHARE = 0.15
SECONDS_BETWEEN_CHECKPOINTS = 300
# What Dobby reads beside the model: see dobby_dagster/inference/model_folder.py.
CARD = {
    "description": "A small model that Dobby trained from scratch on documented Python functions. "
    "It knows one thing: one sentence on what a piece of code does. Often right on plain Python, often vague, "
    "sometimes wrong; other languages and prose are beyond it.",
    "prompts": ["summary"],
    "max_prompt_tokens": CODE_TOKENS + 2,
}


@dataclass(frozen=True)
class Batch:
    """``ids`` (examples x tokens, right-padded with 0), and the flat positions and weights that carry loss."""

    ids: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


class Packed:
    """The packed examples of one role, cut into batches of like length."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self.tokens, self.offsets, self.starts = arrays["tokens"], arrays["offsets"], arrays["starts"]
        self.lengths = np.diff(self.offsets)

    def epoch(self, size: int, seed: int) -> Iterator[Batch]:
        """Every example once: shuffled, sorted by length inside windows of 32 batches, batches shuffled again."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.starts))
        for window in np.array_split(order, max(1, len(order) // (size * 32))):
            window = window[np.argsort(self.lengths[window], kind="stable")]
            batches = np.array_split(window, max(1, len(window) // size))
            for index in rng.permutation(len(batches)):
                yield self.batch(batches[index], rng)

    def batch(self, members: np.ndarray, rng: np.random.Generator) -> Batch:
        """One batch; loss on all of the summary and on a share of the code."""
        longest = int(self.lengths[members].max())
        ids = np.zeros((len(members), longest), dtype=np.int64)
        weights = np.zeros((len(members), longest), dtype=np.float32)
        for row, member in enumerate(members):
            begin, end = self.offsets[member], self.offsets[member + 1]
            ids[row, : end - begin] = self.tokens[begin:end]
            start = self.starts[member]
            weights[row, : start - 2] = CODE_WEIGHT * (rng.random(start - 2) < CODE_SHARE)
            weights[row, start - 1 : end - begin - 1] = SUMMARY_WEIGHT
        targets = np.roll(ids, -1, axis=1)
        positions = np.flatnonzero(weights)
        return Batch(
            torch.from_numpy(ids),
            torch.from_numpy(positions),
            torch.from_numpy(targets.reshape(-1)[positions]),
            torch.from_numpy(weights.reshape(-1)[positions]),
        )


def build_model(tokenizer: PreTrainedTokenizerFast, hidden: int, layers: int) -> Qwen2ForCausalLM:
    """A Qwen2 with heads of 64, one key-value head for every four, and tied embeddings."""
    heads = hidden // 64
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 4),
        max_position_embeddings=CODE_TOKENS + SUMMARY_TOKENS + 24,
        tie_word_embeddings=True,
        rope_theta=10_000.0,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    model = Qwen2ForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            torch.nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers))
    return model


def optimizers(model: Qwen2ForCausalLM, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings, norms and biases."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def loss_of(model: Qwen2ForCausalLM, batch: Batch, device: torch.device) -> torch.Tensor:
    """Weighted mean negative log-likelihood; the head is computed only where there is loss."""
    with torch.autocast(device.type, dtype=torch.bfloat16):
        hidden = model.model(input_ids=batch.ids.to(device), use_cache=False).last_hidden_state
        chosen = hidden.reshape(-1, hidden.shape[-1])[batch.positions.to(device)]
        logits = functional.linear(chosen, model.lm_head.weight)
    losses = functional.cross_entropy(logits.float(), batch.targets.to(device), reduction="none")
    weights = batch.weights.to(device)
    return (losses * weights).sum() / weights.sum()


@torch.no_grad()
def validate(model: Qwen2ForCausalLM, data: Packed, device: torch.device) -> float:
    """Mean negative log-likelihood of a summary token over the validation projects, in nats."""
    total = count = 0.0
    for batch in data.epoch(64, seed=0):
        only = batch.weights == SUMMARY_WEIGHT
        part = Batch(batch.ids, batch.positions[only], batch.targets[only], batch.weights[only])
        total += float(loss_of(model, part, device)) * int(only.sum())
        count += int(only.sum())
    return total / count


def learning_rate(step: int, steps: int, decay: float, warmup: int = 200) -> float:
    """The share of the peak rate at ``step``: linear up, hold, linear down."""
    down = (steps - step) / max(1.0, steps * decay)
    return max(0.0, min(1.0, (step + 1) / warmup, down))


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
        self.device = torch.device(arguments.device)
        torch.manual_seed(arguments.seed)
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.data / "tokenizer")
        self.model = build_model(self.tokenizer, arguments.hidden, arguments.layers).to(self.device)
        self.optimizers = optimizers(self.model, arguments.rate)
        self.train, self.held_out = Packed(arguments.data / "train.npz"), Packed(arguments.data / "validation.npz")
        self.step = self.tokens = self.epoch = self.position = 0
        self.losses: list[float] = []
        self.began = self.saved = time.time()
        self._restore()

    def run(self) -> None:
        """Train to the last step and write the model in bfloat16."""
        print(f"{sum(p.numel() for p in self.model.parameters()):,} parameters, from step {self.step}", flush=True)
        with (self.out / "log.jsonl").open("a") as log:
            while self.step < self.arguments.steps:
                self._epoch(log)
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
        loss = loss_of(self.model, batch, self.device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += batch.ids.numel()
        self.losses.append(loss.item())

    def _record(self, log: TextIO) -> None:
        due = time.time() - self.saved > SECONDS_BETWEEN_CHECKPOINTS or self.step == self.arguments.steps
        if self.step % 100 and not due:
            return
        row = {"step": self.step, "tokens": self.tokens, "loss": sum(self.losses) / len(self.losses)}
        row["seconds"] = time.time() - self.began
        if due:
            row["validation"] = validate(self.model, self.held_out, self.device)
            self._save()
        print(json.dumps(row), file=log, flush=True)
        self.losses = []

    def _save(self) -> None:
        """Write a checkpoint whole or not at all."""
        state = {name: getattr(self, name) for name in ("step", "tokens", "epoch", "position")}
        state |= {"model": self.model.state_dict(), "optimizers": [o.state_dict() for o in self.optimizers]}
        torch.save(state, self.checkpoint.with_suffix(".part"))
        os.replace(self.checkpoint.with_suffix(".part"), self.checkpoint)
        self.saved = time.time()

    def _restore(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for name in ("step", "tokens", "epoch", "position"):
            setattr(self, name, state[name])


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/packed"))
    parser.add_argument("--out", type=Path, default=Path("build/run"))
    parser.add_argument("--steps", type=int, default=4_300)
    parser.add_argument("--decay", type=float, default=0.35)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    Training(parser.parse_args()).run()


if __name__ == "__main__":
    main()
