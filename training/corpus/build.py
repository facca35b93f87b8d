"""The corpus: every project's pairs, deduplicated and split by project."""

from __future__ import annotations

import json
import multiprocessing
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from training.corpus.deduplication import Seen
from training.corpus.functions import pairs_of_file, records_of_file
from training.corpus.packages import Project, fetch, files, list_sources, projects
from training.corpus.pair import Pair, write

# So that no stock sentence is more than a small part of what is learned.
MOST_OF_A_SENTENCE = 15
ROLES = ("test", "validation", "train")


def pairs_of_project(project: Project, archives: Path) -> list[Pair]:
    """All pairs of one project, or as many as one project may give, drawn evenly."""
    archive = fetch(project, archives)
    pairs = [pair for path, text in files(archive, project.folder) for pair in pairs_of_file(project.label, path, text)]
    if len(pairs) > project.most:
        chosen = sorted(random.Random(project.label).sample(range(len(pairs)), project.most))
        pairs = [pairs[index] for index in chosen]
    return pairs


def records_of_project(project: Project, archives: Path) -> list[Pair]:
    """All records of one project as they stand, documented or not."""
    archive = fetch(project, archives)
    return [
        record for path, text in files(archive, project.folder) for record in records_of_file(project.label, path, text)
    ]


def build(out: Path, archives: Path, workers: int, roles: Sequence[str] = ROLES) -> dict[str, Counter[str]]:
    """Write a JSON lines file for each role, ``records.jsonl`` and ``statistics.json`` to ``out``; return the counts.

    ``records.jsonl`` holds all records of the test projects, as they stand.

    Args:
        out: The folder.
        archives: Where the packages are, or are fetched to.
        workers: Processes.
        roles: Which of ``ROLES``, in that order; an evaluation needs no training pairs.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(project.registry == "debian-source" and project.role in roles for project in projects()):
        list_sources(archives)
    seen = Seen()
    sentences: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = {
        role: Counter() for role in (*roles, *(f"{role} by project" for role in roles), "dropped")
    }
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for role in roles:
            chosen = [project for project in projects() if project.role == role]
            found = pool.map(partial(pairs_of_project, archives=archives), chosen)

            def kept(role: str = role, found: Iterator[list[Pair]] = found) -> Iterator[Pair]:
                for pairs in found:
                    for pair in pairs:
                        sentences[pair.summary] += 1
                        reason = "stock" if sentences[pair.summary] > MOST_OF_A_SENTENCE else seen.add(pair)
                        if reason:
                            counts["dropped"][reason] += 1
                            continue
                        counts[role][pair.language] += 1
                        counts[f"{role} by project"][f"{pair.project} {pair.language}"] += 1
                        yield pair

            write(out / f"{role}.jsonl", kept())
        if "test" in roles:
            tested = [project for project in projects() if project.role == "test"]
            found = pool.map(partial(records_of_project, archives=archives), tested)
            write(out / "records.jsonl", (record for records in found for record in records))
    (out / "statistics.json").write_text(json.dumps(counts, indent=2) + "\n")
    return counts
