"""The table of engines as rows, for ``dobby doctor --engines`` and ``docs/engines.md``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dobby_dagster.inference.engine_choice import Host, Need, candidates, chosen
from dobby_dagster.inference.engine_features import DEVICES, ENGINES, EngineFeatures, Feature
from dobby_dagster.inference.optional_packages import missing

FEATURE_HEADERS = ["", *ENGINES]
TRIAL_HEADERS = ["engine", "day", "machine", "what was run"]
_THE_SERVERS = "up to it"
# Properties that every engine has a value for, by their headings.
_PROPERTIES: dict[str, Callable[[EngineFeatures], str]] = {
    "runs on": lambda engine: ", ".join(engine.devices),
    "if requested, also on": lambda engine: ", ".join(engine.on_request),
    "processors": lambda engine: ", ".join(engine.processors),
    "packages": lambda engine: ", ".join(engine.packages),
    "precisions": lambda engine: ", ".join(engine.dtypes) or _THE_SERVERS,
    "quantization": lambda engine: "; ".join(_quantizations(engine)),
}


def choice(need: Need, host: Host | None = None) -> dict[str, Any]:
    """What is taken on a device, why, and why the other engines are not: the rule that loads models."""
    reasons = candidates(need, host)
    taken = chosen(reasons)
    return {
        "device": need.device,
        "engine": taken,
        "reason": ENGINES[taken].reason if taken else "",
        "others": {name: reason for name, reason in reasons.items() if name != taken},
    }


def engines() -> list[dict[str, Any]]:
    """All engines with what they support; None where that is unknown."""
    return [
        {
            "name": name,
            "title": engine.title,
            "devices": engine.devices,
            "on_request": engine.on_request,
            "packages": engine.packages,
            "missing": missing(*engine.packages),
            "processors": engine.processors,
            "dtypes": engine.dtypes or None,
            "quantizations": dict(engine.quantizations),
            "features": {str(feature): supported(engine, feature) for feature in Feature},
            "token_agreement": engine.token_agreement,
            "logprob_tolerance": engine.logprob_tolerance,
            "trials": [{"day": trial.day, "machine": trial.machine, "what": trial.what} for trial in engine.trials],
        }
        for name, engine in ENGINES.items()
    ]


def supported(engine: EngineFeatures, feature: Feature) -> bool | None:
    """Whether an engine supports a feature; None where that is up to a server."""
    return None if feature in engine.unknown else feature in engine.features


def feature_rows(yes: str, no: str) -> Iterator[list[str]]:
    """A row for each property and feature, a column for each engine."""
    marks = {True: yes, False: no, None: _THE_SERVERS}
    for heading, value in _PROPERTIES.items():
        yield [heading, *(value(engine) or no for engine in ENGINES.values())]
    for feature in Feature:
        yield [str(feature), *(marks[supported(engine, feature)] for engine in ENGINES.values())]


def trial_rows() -> Iterator[list[str]]:
    """What was run with each engine."""
    for name, engine in ENGINES.items():
        for trial in engine.trials:
            yield [name, trial.day, trial.machine, trial.what]


def _quantizations(engine: EngineFeatures) -> Iterator[str]:
    if not engine.dtypes:
        yield _THE_SERVERS
    for device, kinds in engine.quantizations.items():
        yield f"{', '.join(kinds)} on {DEVICES[device]}"
