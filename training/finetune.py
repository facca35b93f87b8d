"""Make the built-in model out of a pretrained one: teach it the work, and take away the layers that it can do without.

    python -m training.finetune --base build/base --data build/examples --out build/run --seconds 540

It begins with all layers. Between two shares of the time, one layer after another is dropped: of those that change
their input least (Men et al. 2024, "ShortGPT", arXiv:2403.03853) the one without which the loss on held-out examples
is least; the rest learns to do without it before the next one goes. Then what is left is trained to the end. The rate
warms up, holds, and falls linearly to nothing (Hu et al. 2024, arXiv:2404.06395); rate and layers follow the time
that is given, so that the same command fills nine minutes of a GPU or a day of two cores (or the steps, with
``--steps``). A checkpoint holds everything, and the same command goes on with it. The result is written in int8 with
a scale for each row.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors.torch import save_file
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from training.batches import Batch, Examples
from training.llama import Llama, load

# What Dobby reads beside the model: see dobby_dagster/inference/models/model_card.py.
CARD = {
    "description": "SmolLM2-135M-Instruct, cut to fewer layers and tokens and taught one thing: one sentence on what a "
    "piece of code, a file or a short text is.",
    "prompts": ["summary"],
    "max_prompt_tokens": 194,
}
WARM_UP, DECAY_FROM = 0.03, 0.5
DROP_FROM, DROP_TO = 0.12, 0.42
CANDIDATES = 6
CODE_WEIGHT = (0.3, 0.05)
SECONDS_BETWEEN_CHECKPOINTS = 120.0
VALIDATION_BATCHES = 4


def rate_share(done: float) -> float:
    """The share of the peak rate when ``done`` of the time, 0 to 1, is over."""
    return max(0.0, min(1.0, (done + 0.002) / WARM_UP, (1 - done) / (1 - DECAY_FROM)))


def layers_wanted(done: float, first: int, last: int) -> int:
    """How many layers there should be when ``done`` of the time is over."""
    share = min(1.0, max(0.0, (done - DROP_FROM) / (DROP_TO - DROP_FROM)))
    return first - round(share * (first - last))


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
        self.first = len(self.model.layers)
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
                self._drop(log)
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
        for group in self.optimizer.param_groups:
            group["lr"] = self.arguments.rate * group["share"] * rate_share(done)
        spoken, losses = self._losses(batch)
        weights = torch.where(spoken, 1.0, CODE_WEIGHT[0] + done * (CODE_WEIGHT[1] - CODE_WEIGHT[0]))
        ((losses * weights).sum() / weights.sum()).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += batch.rows * batch.length
        return losses.detach()[spoken].mean()

    def _losses(self, batch: Batch, without: int = -1) -> tuple[torch.Tensor, torch.Tensor]:
        ids, positions, places, targets, spoken = (
            torch.from_numpy(value).to(self.device, non_blocking=True)
            for value in (batch.ids, batch.positions, batch.places, batch.targets, batch.spoken)
        )
        state = self.model.hidden(ids, positions, batch.rows, batch.length, without)[-1]
        return spoken, self.model.losses(state, places, targets)

    def _validate(self, batches: list[Batch], without: int = -1) -> float:
        """Mean loss of a summary token, in nats."""
        total = count = 0.0
        for batch in batches:
            spoken, losses = self._losses(batch, without)
            total += float(losses.detach()[spoken].sum())
            count += int(spoken.sum())
        return total / count

    def _drop(self, log: TextIO) -> None:
        """Take away a layer when it is time for it."""
        if len(self.model.layers) <= layers_wanted(self.done, self.first, self.arguments.layers):
            return
        batch = self.held_out[0]
        influence = self._influence(batch)
        candidates = sorted(range(len(influence)), key=influence.__getitem__)[:CANDIDATES]
        costs = {index: self._validate([batch], index) for index in candidates}
        worst = min(costs, key=costs.__getitem__)
        for parameter in self.model.layers[worst].parameters():
            parameter.grad = None
        kept = [index for index in range(self.first) if index not in self.dropped]
        self.dropped.append(kept[worst])
        self.model.layers = torch.nn.ModuleList(layer for at, layer in enumerate(self.model.layers) if at != worst)
        row = {"dropped": kept[worst], "loss": round(costs[worst], 4), "step": self.step}
        print(json.dumps(row), file=log, flush=True)
        print(row, flush=True)

    def _influence(self, batch: Batch) -> list[float]:
        """1 - cosine of what comes into each layer and what goes out of it (ShortGPT, section 3)."""
        ids, positions = (torch.from_numpy(value).to(self.device) for value in (batch.ids, batch.positions))
        states = [state.detach().float() for state in self.model.hidden(ids, positions, batch.rows, batch.length)]
        return [float(1 - functional.cosine_similarity(a, b, dim=-1).mean()) for a, b in itertools.pairwise(states)]

    def _record(self, log: TextIO, losses: list[torch.Tensor]) -> None:
        seconds = self.before + time.time() - self.began
        row: dict[str, Any] = {
            "step": self.step,
            "epoch": self.epoch,
            "tokens": self.tokens,
            "seconds": round(seconds, 1),
        }
        row["layers"] = len(self.model.layers)
        if losses:
            row["loss"] = round(float(torch.stack(losses).mean()), 4)
        row["validation"] = round(self._validate(self.held_out), 4)
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
            kept = [layer for at, layer in enumerate(self.model.layers) if at not in self.dropped]
            self.model.layers = torch.nn.ModuleList(kept)
            self.model.take(state["model"])
        self.optimizer = self._optimizer()
        if state:
            for parameter, values in zip(self.model.named().values(), state["optimizer"], strict=True):
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


def write_model(model: Llama, base: Path, out: Path) -> None:
    """Write a folder in transformers' layout, its matrices in int8 (see :func:`quantized`)."""
    out.mkdir(parents=True, exist_ok=True)
    config = json.loads((base / "config.json").read_text()) | {"num_hidden_layers": len(model.layers)}
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {"targets": ["Linear", "Embedding"], "weights": weights, "input_activations": None}
        },
        "ignore": ["lm_head"],
    }
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (out / "dobby.json").write_text(json.dumps(CARD, indent=2) + "\n")
    tensors: dict[str, torch.Tensor] = {}
    for name, value in model.named().items():
        tensors |= quantized(name, value.detach().float().cpu())
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        if (base / name).exists():
            shutil.copyfile(base / name, out / name)


def quantized(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    """A matrix as int8 with the scale of each row, its largest number being 127; a vector in bfloat16."""
    if value.ndim == 1:
        return {name: value.to(torch.bfloat16)}
    scale = (value.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127).to(torch.bfloat16)
    whole = (value / scale.float()).round().clamp(-127, 127).to(torch.int8)
    return {name: whole, f"{name.removesuffix('.weight')}.weight_scale": scale}


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
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--every", type=int, default=200, help="steps between two lines of the log")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    Finetuning(parser.parse_args()).run()


if __name__ == "__main__":
    main()
