"""The checks of ``dobby doctor``."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

from dobby_dagster.cli.database_checks import database_checks
from dobby_dagster.cli.engine_list import other_engines
from dobby_dagster.cli.finding import Command, Finding
from dobby_dagster.domain.errors import DobbyError, StoreError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.settings import Settings

PACKAGES = ("dobby-dagster", "dagster", "dagster-webserver", "pycozo", "cozo-embedded")
EXTRAS = ("dagster-postgres", "gguf", "mlx", "mnestic", "openvino", "torch", "transformers", "vllm")


Check: TypeAlias = Callable[[Settings, Command], Iterator[Finding]]


def diagnose(settings: Settings, command: Command) -> list[Finding]:
    """Run all checks; an error in one does not prevent the others.

    Args:
        settings: The settings in use.
        command: Writes the command lines of the remedies.
    """
    checks: tuple[tuple[str, Check], ...] = (
        ("versions", _versions),
        ("database", database_checks),
        ("model", _model),
        ("dagster", _dagster),
        ("disk", _disk),
        ("alerts", _alerts),
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


def _model(settings: Settings, command: Command) -> Iterator[Finding]:
    from dobby_dagster.inference.engine_selection import engine_for
    from dobby_dagster.inference.models.model_lookup import find_model
    from dobby_dagster.inference.prompts import chosen_prompt

    prompt = chosen_prompt(settings.prompt)
    if settings.model.url:
        yield Finding("model", True, f"{settings.model.served_name}, run by {settings.model.url}")
    else:
        source = find_model(settings.model)
        about = source.card.get("description", "a model of your own")
        yield Finding("model", True, f"{source.name}: {source.architecture}, {source.size / 1e6:.0f} MB; {about}")
        source.require_prompt(prompt, settings.prompt.callees)
    engine = engine_for(settings.model, settings.inference)
    try:
        info = engine.load()
        yield Finding(
            "device", True, f"{info.device}, {info.numbers}: {info.device_reason}; loaded in {info.load_seconds:.1f} s"
        )
        yield Finding("engine", True, f"{info.engine}, {counted(engine.slots, 'slot')}: {info.engine_reason}")
        if not settings.model.url:
            yield Finding("other engines", True, other_engines(settings, info))
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
    how = "not served: sensors and schedules run only with dobby dev"
    if served.is_running:
        how = f"served at {served.url}; health at {served.monitor}/ready"
    yield Finding("dagster", True, f"DAGSTER_HOME is {home}; {how}")
    try:
        store = CozoStore.open(settings.database, create=False)
    except StoreError:  # reported by the check "database"
        return
    with opened_instance(settings) as instance:
        stuck = {
            "run of a dead process": len(dead_runs(instance, store)),
            "record claim of a dead process": len(abandoned_owners(store)),
            "leaked pool slot": len(leaked_slots(instance)),
        }
    found = ", ".join(_stuck(count, what) for what, count in stuck.items() if count)
    yield Finding("stuck", not found, found or "nothing", command("recover") if found else "")


def _stuck(count: int, what: str) -> str:
    noun, of, owner = what.partition(" of ")
    return f"{counted(count, noun)}{of}{owner}"


def _disk(settings: Settings, command: Command) -> Iterator[Finding]:
    from dobby_dagster.defs.runs.dagster_home import home_path
    from dobby_dagster.pipeline.monitoring.disk_space import free_spaces

    for space in free_spaces(settings, home_path(settings)):
        remedy = "free some space: a full disk stops every write" if space.is_low else ""
        yield Finding("disk", not space.is_low, f"{space.free / 1e9:.1f} GB free at {space.folder}", remedy)


def _alerts(settings: Settings, command: Command) -> Iterator[Finding]:
    from dobby_dagster.pipeline.monitoring.alert_channels import channels, unusable

    named = channels(settings.automation)
    for problem in unusable(named):
        yield Finding("alerts", False, problem)
    where = f"sent to {', '.join(named)}" if named else "to the log only; automation.alert_… names other channels"
    yield Finding("alerts", True, where, command("alerts --test") if named else "")
