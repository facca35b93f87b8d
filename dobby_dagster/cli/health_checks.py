"""The checks of ``dobby doctor``."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from dobby_dagster.domain.errors import DobbyError, Retry, StoreError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.settings import Settings
from dobby_dagster.domain.states import is_quarantined

if TYPE_CHECKING:
    from dobby_dagster.store.cozo_store import CozoStore

PACKAGES = ("dobby-dagster", "dagster", "dagster-webserver", "pycozo", "cozo-embedded")
EXTRAS = ("openvino", "torch", "transformers")
LOW_DISK_BYTES = 1_000_000_000


# Returns a command line of dobby that works with the present settings, given its name and arguments.
Command: TypeAlias = Callable[..., str]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: What was checked.
        ok: Whether it is well.
        message: What was found.
        remedy: How to fix it, or a command that helps.
    """

    name: str
    ok: bool
    message: str
    remedy: str = ""


Check: TypeAlias = Callable[[Settings, Command], Iterator[Finding]]


def diagnose(settings: Settings, command: Command) -> list[Finding]:
    """Run all checks; an error in one does not prevent the others.

    Args:
        settings: The settings in use.
        command: Writes the command lines of the remedies.
    """
    checks: tuple[tuple[str, Check], ...] = (
        ("versions", _versions),
        ("database", _database),
        ("model", _model),
        ("dagster", _dagster),
        ("disk", _disk),
    )
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check(settings, command)
        except DobbyError as error:
            findings.append(Finding(name, False, error.message, error.hint or ""))
    return findings


def _versions(settings: Settings, command: Command) -> Iterator[Finding]:
    found, missing = [f"Python {platform.python_version()}"], []
    for package in (*PACKAGES, *EXTRAS):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing += [package] * (package in PACKAGES)
    remedy = f"pip install {' '.join(missing)}" if missing else ""
    yield Finding("versions", not missing, ", ".join(found), remedy)


def _database(settings: Settings, command: Command) -> Iterator[Finding]:
    from dobby_dagster.store.cozo_store import CozoStore
    from dobby_dagster.store.source.change_tracking import choose

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
    backend, reason = choose(source)
    yield Finding(
        "source",
        True,
        f"'{settings.source.relation}': {counted(source.count(), 'row')}; change tracking by {backend}: {reason}",
    )
    yield from _invariants(command, store)
    yield from _records(settings, command, store)


def _invariants(command: Command, store: CozoStore) -> Iterator[Finding]:
    """The invariants of the ledger, for every source and recipe."""
    violations = store.audit.examine()
    for violation in violations:
        remedy = command(violation.remedy) if violation.remedy else "restore a backup"
        yield Finding("invariants", False, str(violation), remedy)
    if not violations:
        yield Finding("invariants", True, "all hold")


def _records(settings: Settings, command: Command, store: CozoStore) -> Iterator[Finding]:
    """Batches and records that failed or wait for a retry."""
    from dobby_dagster.pipeline.planning.retry_policy import unsettled

    recipe = store.recipes.latest()
    if recipe is None:
        return
    relation, retries = settings.source.relation, settings.pipeline.max_retries
    left = unsettled(store, relation, recipe, retries, settings.automation.retry_seconds)
    ended = [candidate.batch for candidate in left if candidate.given_up]
    if ended:
        named = f"{ended[0]}{f' and {len(ended) - 1} more' if len(ended) > 1 else ''}"
        yield Finding(
            "batches", False,
            f"{named}: {counted(retries + 1, 'run')} committed nothing; it is not retried automatically",
            f"see the run's error in the UI; then {command('backfill', ended[0])}",
        )  # fmt: skip
    waiting = len(left) - len(ended)
    if waiting:
        yield Finding(
            "batches", True, f"{counted(waiting, 'batch')} started but not finished; retried automatically",
            command("backfill --failed"),
        )  # fmt: skip
    quarantined = sum(
        is_quarantined(Retry(row["retry"]), row["retry_count"], retries)
        for row in store.states.failed(relation, recipe)
    )
    if quarantined:
        yield Finding(
            "quarantine", True, counted(quarantined, "record"), f"{command('failed list')}, {command('failed release')}"
        )


def _model(settings: Settings, command: Command) -> Iterator[Finding]:
    from dobby_dagster.inference.engine_selection import engine_for
    from dobby_dagster.inference.models.model_folder import find_model
    from dobby_dagster.inference.prompts import chosen_prompt

    prompt = chosen_prompt(settings.prompt)
    if settings.model.url:
        yield Finding("model", True, f"{settings.model.served_name}, run by {settings.model.url}")
    else:
        folder = find_model(settings.model)
        about = folder.card.get("description", "a model of your own")
        yield Finding("model", True, f"{folder.name}: {folder.architecture}, {folder.size / 1e6:.0f} MB; {about}")
        folder.require_prompt(prompt)
    engine = engine_for(settings.model, settings.inference)
    try:
        info = engine.load()
        yield Finding(
            "device", True, f"{info.device}, {info.dtype}: {info.device_reason}; loaded in {info.load_seconds:.1f} s"
        )
        yield Finding("engine", True, f"{info.engine}, {counted(engine.slots, 'slot')}: {info.engine_reason}")
        if info.promise:
            yield Finding("consistency", True, f"a record summarised again gets {info.promise}")
        health = engine.health()
        yield Finding("inference", health.ok, f"{health.message} in {health.seconds * 1000:.0f} ms",
                      "" if health.ok else "try --device cpu, or another model")  # fmt: skip
    finally:
        engine.close()


def _dagster(settings: Settings, command: Command) -> Iterator[Finding]:
    from dobby_dagster.cli.server.served_home import ServedHome
    from dobby_dagster.defs.runs.crash_recovery import abandoned_owners, dead_runs, leaked_slots
    from dobby_dagster.defs.runs.dagster_home import home_path, opened_instance
    from dobby_dagster.store.cozo_store import CozoStore

    home = home_path(settings)
    if not home.is_dir():
        yield Finding("dagster", True, f"DAGSTER_HOME will be {home}; the first run creates it")
        return
    served = ServedHome.read(home)
    how = (
        f"served at {served.url}" if served.is_running else "not served: sensors and schedules run only with dobby dev"
    )
    yield Finding("dagster", True, f"DAGSTER_HOME is {home}; {how}")
    try:
        store = CozoStore.open(settings.database, create=False)
    except StoreError:  # reported by the check "database"
        return
    with opened_instance(settings) as instance:
        stuck = {
            "run of a dead process": len(dead_runs(instance)),
            "record claim of a dead process": len(abandoned_owners(store)),
            "leaked pool slot": len(leaked_slots(instance)),
        }
    found = ", ".join(_stuck(count, what) for what, count in stuck.items() if count)
    yield Finding("stuck", not found, found or "nothing", command("recover") if found else "")


def _stuck(count: int, what: str) -> str:
    noun, of, owner = what.partition(" of ")
    return f"{counted(count, noun)}{of}{owner}"


def _disk(settings: Settings, command: Command) -> Iterator[Finding]:
    file = settings.database.address.file
    folder = file.absolute().parent if file else Path.cwd()
    while not folder.is_dir():  # the nearest that exists
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    ok = free >= LOW_DISK_BYTES
    yield Finding(
        "disk", ok, f"{free / 1e9:.1f} GB free", "" if ok else "free some space: a full disk stops every write"
    )
