"""The pairs of all kinds: from every archive, and made up; deduplicated, limited, and split by project."""

from __future__ import annotations

import gzip
import hashlib
import multiprocessing
import random
import re
import signal
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from training.corpus.build import MOST_OF_A_SENTENCE, ROLES
from training.corpus.kinds.files import pairs_of, promising, sort_of, wanted
from training.corpus.kinds.harvest import Harvest
from training.corpus.kinds.logs import logs
from training.corpus.kinds.notes import notes
from training.corpus.kinds.samples import samples
from training.corpus.kinds.tracebacks import tracebacks
from training.corpus.packages import Project, archived, fetch, list_sources, members_of, projects
from training.corpus.pair import Pair, write

T = TypeVar("T")
LISTED = Path(__file__).with_name("projects.toml")
# Of one kind and language.
MOST_OF_A_KIND = 8_000
# Of one project, for each kind and language.
MOST_OF_A_PROJECT = 1_500
LARGEST_FILE = 3_000_000
SECONDS_A_FILE = 20
# Files of one project that are read, by their sort.
MOST_FILES = {"tests": 60, "sources": 110, "others": 800}
# Larger ones, but wheels, hold sources for the most part, and take long to unpack.
LARGEST_ARCHIVE = 12_000_000
# How many are made up: of each language of data, of tracebacks, of logs, of notes.
MADE_UP = {"train": (1_200, 5_000, 5_000, 2_500), "validation": (80, 300, 300, 150), "test": (80, 300, 300, 150)}


def build(
    out: Path, archives: Path, workers: int, present_only: bool, roles: Sequence[str] = ROLES
) -> dict[str, Counter[str]]:
    """Write ``kinds.ROLE.jsonl`` for each role to ``out``; return how many of each kind and language, by role.

    Args:
        out: The folder.
        archives: Where the packages are, or are fetched to.
        workers: Processes.
        present_only: Fetch nothing, and go without the projects whose archives are not there.
        roles: Which of ``ROLES``, in that order.
    """
    out.mkdir(parents=True, exist_ok=True)
    everything = [project for project in (*projects(), *projects(LISTED)) if project.role in roles]
    if not present_only and any(project.registry.startswith("debian-") for project in everything):
        list_sources(archives)
    seen: set[bytes] = set()
    sentences: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = {}
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for role in roles:
            chosen = [project for project in everything if project.role == role]
            harvest, pairs = Harvest(), list[Pair]()
            work = partial(of_project, archives=archives, present_only=present_only)
            for some, words in pool.map(work, chosen):
                pairs += some
                harvest.extend([words])
            kept = limited([*_unique([*pairs, *made_up(role, harvest)], seen, sentences)], role)
            write(out / f"kinds.{role}.jsonl", kept)
            counts[role] = Counter(f"{pair.kind} {pair.language}" for pair in kept)
    return counts


def of_project(project: Project, archives: Path, present_only: bool) -> tuple[list[Pair], Harvest]:
    """All pairs of one project, at most ``MOST_OF_A_PROJECT`` of a kind, and what its Python code logs and raises."""
    archive = archived(project, archives) if present_only else fetch(project, archives)
    by_kind: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    harvest = Harvest()
    if archive is not None and (archive.suffix == ".whl" or archive.stat().st_size <= LARGEST_ARCHIVE):
        for name, text in texts(archive, project.folder):
            if name.endswith(".py"):
                harvest.add(name, text)
            for pair in _in_time(project.label, name, text):
                by_kind[pair.kind, pair.language].append(pair)
    rng = random.Random(project.label)
    return [pair for some in by_kind.values() for pair in _drawn(some, MOST_OF_A_PROJECT, rng)], harvest


def _in_time(project: str, name: str, text: str) -> list[Pair]:
    """The pairs of one file; none of one that takes too long, such as generated data that look like text."""

    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS_A_FILE)
    try:
        return list(pairs_of(project, name, text))
    except TimeoutError:
        print(f"{project}: {name} takes too long")
        return []
    finally:
        signal.alarm(0)


def texts(archive: Path, folder: str) -> Iterator[tuple[str, str]]:
    """Name and text of the files that may give a pair, as many of each sort as are read; a page that is compressed is unpacked."""
    by_sort: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    for name, data in members_of(archive, wanted):
        if name.startswith(folder) and len(data) <= LARGEST_FILE and promising(name, data):
            by_sort[sort_of(name)].append((name, data))
    rng = random.Random(archive.name)
    for sort, members in by_sort.items():
        for name, data in _drawn(members, MOST_FILES[sort], rng):
            if name.endswith(".gz"):
                try:
                    name, data = name.removesuffix(".gz"), gzip.decompress(data)
                except (OSError, EOFError, zlib.error):
                    continue
            if b"\0" not in data[:1_000]:
                yield name, data.decode("utf-8", "replace").replace("\r\n", "\n")


def made_up(role: str, harvest: Harvest) -> Iterator[Pair]:
    """Yield the contents that are made by rule; each role has its own seed and its own projects' words."""
    data, traces, lines, texts_ = MADE_UP[role]
    rng = random.Random(f"kinds of {role}")
    project = f"made up, {role}"
    yield from samples(project, rng, data)
    yield from tracebacks(project, harvest, rng, traces)
    yield from logs(project, harvest, rng, lines)
    yield from notes(project, rng, texts_)


def limited(pairs: list[Pair], role: str) -> list[Pair]:
    """At most ``MOST_OF_A_KIND`` of each kind and language, drawn evenly, in a shuffled order."""
    rng = random.Random(role)
    by_kind: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_kind[pair.kind, pair.language].append(pair)
    kept = [pair for some in by_kind.values() for pair in _drawn(some, MOST_OF_A_KIND, rng)]
    rng.shuffle(kept)
    return kept


def _drawn(some: list[T], most: int, rng: random.Random) -> list[T]:
    return some if len(some) <= most else [some[i] for i in sorted(rng.sample(range(len(some)), most))]


def _unique(pairs: Iterable[Pair], seen: set[bytes], sentences: Counter[str]) -> Iterator[Pair]:
    """Pairs whose content is new, and whose sentence has not come too often."""
    for pair in pairs:
        key = hashlib.sha256(re.sub(r"\s+", " ", pair.code).encode("utf-8", "replace")).digest()[:12]
        if key in seen:
            continue
        sentences[pair.summary] += 1
        if sentences[pair.summary] <= MOST_OF_A_SENTENCE:
            seen.add(key)
            yield pair
