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

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from training.prepare import CODE_TOKENS, SUMMARY_TOKENS

SUMMARY_WEIGHT = 1.0
CODE_WEIGHT = 0.3
CODE_SHARE = 0.15


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


def save(path: Path, **state: object) -> None:
    """Write a checkpoint whole or not at all."""
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/packed"))
    parser.add_argument("--out", type=Path, default=Path("build/run"))
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--decay", type=float, default=0.3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(arguments.device)
    torch.manual_seed(arguments.seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.data / "tokenizer")
    model = build_model(tokenizer, arguments.hidden, arguments.layers).to(device)
    chosen = optimizers(model, arguments.rate)
    train, held_out = Packed(arguments.data / "train.npz"), Packed(arguments.data / "validation.npz")
    checkpoint = arguments.out / "checkpoint.pt"
    step = tokens = epoch = position = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(chosen, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, tokens, epoch, position = state["step"], state["tokens"], state["epoch"], state["position"]
    log = (arguments.out / "log.jsonl").open("a")
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, from step {step}", flush=True)
    began, running, last_save = time.time(), [], time.time()
    while step < arguments.steps:
        for index, batch in enumerate(train.epoch(arguments.batch, seed=arguments.seed + epoch)):
            if index < position:
                continue
            for optimizer in chosen:
                for group in optimizer.param_groups:
                    group["lr"] = arguments.rate * learning_rate(step, arguments.steps, arguments.decay)
            loss = loss_of(model, batch, device)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in chosen:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            step, position = step + 1, index + 1
            tokens += batch.ids.numel()
            running.append(loss.item())
            due = time.time() - last_save > 300 or step == arguments.steps
            if step % 100 == 0 or due:
                row = {
                    "step": step,
                    "tokens": tokens,
                    "loss": sum(running) / len(running),
                    "seconds": time.time() - began,
                }
                if due:
                    row["validation"] = validate(model, held_out, device)
                    save(
                        checkpoint,
                        model=model.state_dict(),
                        optimizers=[o.state_dict() for o in chosen],
                        step=step,
                        tokens=tokens,
                        epoch=epoch,
                        position=position,
                    )
                    last_save = time.time()
                print(json.dumps(row), file=log, flush=True)
                running = []
            if step >= arguments.steps:
                break
        else:
            epoch, position = epoch + 1, 0
    model.to(torch.bfloat16).save_pretrained(arguments.out / "model")
    tokenizer.save_pretrained(arguments.out / "model")


if __name__ == "__main__":
    main()
