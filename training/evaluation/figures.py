"""Pictures: reliability of the confidence, and the course of training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

BINS = 10


def reliability(path: Path, probabilities: Sequence[float], truths: Sequence[bool]) -> None:
    """Draw how often summaries of like confidence agree with their authors' sentences, and how many there are."""
    given, true = np.asarray(probabilities), np.asarray(truths, dtype=float)
    place = np.minimum((given * BINS).astype(int), BINS - 1)
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(5, 6), height_ratios=(3, 1), sharex=True, layout="constrained")
    filled = [i for i in range(BINS) if (place == i).any()]
    upper.plot([0, 1], [0, 1], "--", color="grey", label="perfect")
    upper.plot(
        [given[place == i].mean() for i in filled], [true[place == i].mean() for i in filled], "o-", label="model"
    )
    upper.set(ylabel="share that agrees", ylim=(0, 1), title="Confidence on projects never seen")
    upper.legend()
    lower.hist(given, bins=BINS, range=(0, 1), color="C0")
    lower.set(xlabel="confidence", ylabel="summaries", xlim=(0, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def curves(path: Path, log: Path) -> None:
    """Draw the loss in training and on the validation projects."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.plot([row["step"] for row in rows], [row["loss"] for row in rows], label="training (summary and code)", lw=1)
    held = [row for row in rows if "validation" in row]
    axes.plot([row["step"] for row in held], [row["validation"] for row in held], "o-", label="validation (summary)")
    axes.plot(
        [row["step"] for row in held], [row["averaged"] for row in held], "s--", label="validation, averaged weights"
    )
    axes.set(xlabel="step", ylabel="nats a token", ylim=(min(row["loss"] for row in rows) - 0.6, 6))
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
