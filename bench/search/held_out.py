"""Functions and classes of projects that no model was trained on, in a database, with summaries by the built-in model."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dobby_dagster.domain.records import Record
from dobby_dagster.domain.settings import OWN_RELATION, DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from training.corpus.pair import Pair, read

KINDS = ("function", "method", "class")
SHORTEST = 80  # characters of code: shorter ones say nothing


@dataclass(frozen=True)
class Collection:
    """Records, and for each the sentence that its author wrote of it.

    Attributes:
        url: Of the database, in which all records that the model could summarise have a summary.
        pairs: By key; the database has their code without the documentation.
    """

    url: str
    pairs: dict[str, Pair]


def sampled(pairs: Sequence[Pair], per_language: int, seed: str) -> dict[str, Pair]:
    """Up to ``per_language`` pairs of each language, the same ones for a ``seed``, by key: project and name."""
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.kind in KINDS and len(pair.code) >= SHORTEST:
            groups[pair.language].append(pair)
    rng, chosen = random.Random(seed), []
    for _, group in sorted(groups.items()):
        chosen += rng.sample(group, min(len(group), per_language))
    rng.shuffle(chosen)
    seen: Counter[str] = Counter()
    found: dict[str, Pair] = {}
    for pair in chosen:
        key = f"{pair.project}::{pair.name}"
        seen[key] += 1
        found[key if seen[key] == 1 else f"{key}~{seen[key]}"] = pair
    return found


def prepared(corpus: Path, folder: Path, per_language: int) -> Collection:
    """The collection of one JSON lines file of the corpus, in ``folder``; what is summarised already stays.

    Raises:
        subprocess.CalledProcessError: ``dobby summarize`` or ``dobby search`` failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder.resolve()}/{corpus.stem}-{per_language}.db"
    pairs = sampled(read(corpus), per_language, corpus.stem)
    store = CozoStore.open(DatabaseSettings(url=url))
    records = [
        Record(key, pair.code, OWN_RELATION, pair.kind, pair.language, metadata={"name": pair.name})
        for key, pair in pairs.items()
    ]
    store.records.put_changed(records, "held-out")
    store.close()
    environment = {**os.environ, "DAGSTER_HOME": str(folder.resolve() / "home")}
    for command in (["summarize"], ["search", "--update"]):
        whole = [sys.executable, "-m", "dobby_dagster.cli.app", *command, "--database", url]
        subprocess.run(whole, env=environment, check=True)  # noqa: S603
    return Collection(url, pairs)
