"""What ``dobby doctor`` looks at."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.settings import Settings

PACKAGES = ("dobby-dagster", "dagster", "dagster-webserver", "pycozo", "cozo-embedded", "torch", "transformers")
LOW_DISK_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``remedy`` is what to do where it is not well."""

    name: str
    ok: bool
    message: str
    remedy: str = ""


def diagnose(settings: Settings) -> list[Finding]:
    """Look at everything; one thing's failure does not keep the others from being looked at."""
    checks: tuple[tuple[str, Callable[[Settings], Iterator[Finding]]], ...] = (
        ("versions", _versions),
        ("database", _database),
        ("model", _model),
        ("dagster", _dagster),
        ("disk", _disk),
    )
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check(settings)
        except DobbyError as error:
            findings.append(Finding(name, False, error.message, error.hint or ""))
    return findings


def _versions(settings: Settings) -> Iterator[Finding]:
    found, lacking = [f"Python {platform.python_version()}"], []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lacking.append(package)
    remedy = f"pip install {' '.join(lacking)}" if lacking else ""
    yield Finding("versions", not lacking, ", ".join(found), remedy)


def _database(settings: Settings) -> Iterator[Finding]:
    from dobby_dagster.pipeline.invariants import abandoned
    from dobby_dagster.store.store import CozoStore
    from dobby_dagster.store.tracking import choose

    store = CozoStore.open(settings.database, create=False)
    health = store.health()
    yield Finding(
        "database", True, f"{health.url}: schema {health.schema_version}, answers in {health.seconds * 1000:.1f} ms"
    )
    try:
        source = store.source(settings.source)
    except DobbyError as error:
        yield Finding("source", False, error.message, error.hint or "")
        return
    way, why = choose(source)
    yield Finding("source", True, f"'{settings.source.relation}': {source.count():,} rows; changes by {way}: {why}")
    recipe = store.work.latest_recipe()
    if recipe is None:
        return
    batches = store.work.unsettled(settings.source.relation, recipe, settings.pipeline.max_retries)
    left = sum(abandoned(member) for batch in batches for member in store.work.members(batch, recipe))
    message = f"{left} records were left in progress by a run that died" if left else "no record is stuck"
    yield Finding("records", True, message, "the next dobby summarize does them" if left else "")


def _model(settings: Settings) -> Iterator[Finding]:
    from dobby_dagster.inference.model_folder import find_model
    from dobby_dagster.inference.prompts import chosen_prompt
    from dobby_dagster.inference.transformers_engine import TransformersEngine

    folder = find_model(settings.model)
    about = folder.card.get("description", "a model of yours")
    yield Finding("model", True, f"{folder.name}: {folder.architecture}, {folder.size / 1e6:.0f} MB; {about}")
    folder.require_prompt(chosen_prompt(settings.prompt))
    engine = TransformersEngine(folder, settings.model, settings.inference)
    try:
        info = engine.load()
        yield Finding(
            "device", True, f"{info.device}, {info.dtype}: {info.device_reason}; loaded in {info.load_seconds:.1f} s"
        )
        health = engine.health()
        yield Finding("inference", health.ok, f"{health.message} in {health.seconds * 1000:.0f} ms",
                      "" if health.ok else "try --device cpu, or another model")  # fmt: skip
    finally:
        engine.close()


def _dagster(settings: Settings) -> Iterator[Finding]:
    from dobby_dagster.defs.run_here import dagster_home

    yield Finding("dagster", True, f"DAGSTER_HOME is {dagster_home(settings)}")


def _disk(settings: Settings) -> Iterator[Finding]:
    scheme, _, rest = settings.database.url.partition(":///")
    folder = Path(rest).parent if scheme in ("sqlite", "rocksdb") else Path()
    free = shutil.disk_usage(folder).free
    ok = free >= LOW_DISK_BYTES
    yield Finding(
        "disk", ok, f"{free / 1e9:.1f} GB free", "" if ok else "free some space: a full disk stops every write"
    )
