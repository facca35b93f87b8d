"""What ``dobby doctor`` says about engines: which one each device of this machine gets, and what every one supports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dobby_dagster.cli.output import is_unicode, out, print_json, print_table
from dobby_dagster.cli.wide_table import print_wide_table
from dobby_dagster.domain.settings import Settings

if TYPE_CHECKING:
    from dobby_dagster.inference.engine import ModelInfo


def show_engines(settings: Settings, as_json: bool) -> None:
    """Print the engine that these settings get on each device, and the table of engines."""
    from dobby_dagster.cli import engine_tables
    from dobby_dagster.inference.engine_choice import needs
    from dobby_dagster.inference.engine_features import ENGINES

    devices = [
        engine_tables.choice(need) | {"available": not obstacle, "obstacle": obstacle}
        for need, obstacle in needs(settings.model, settings.inference).items()
    ]
    if as_json:
        print_json({"devices": devices, "engines": engine_tables.engines()})
        return
    print_wide_table(["device", "engine", "why", "the others"], [_device_row(device) for device in devices])
    yes, no = ("✓", "–") if is_unicode() else ("yes", "-")
    missing = {engine["name"]: engine["missing"] for engine in engine_tables.engines()}
    installed = ["installed", *(no if absent else yes for absent in missing.values())]
    print_wide_table(engine_tables.FEATURE_HEADERS, [installed, *engine_tables.feature_rows(yes, no)])
    for name, absent in missing.items():
        if absent:
            out.print(f"{name}: {absent}", soft_wrap=True)
    out.print("\n".join(f"{name}: {engine.title}" for name, engine in ENGINES.items() if name != engine.title))
    if trials := list(engine_tables.trial_rows()):
        print_table(engine_tables.TRIAL_HEADERS, trials)


def other_engines(settings: Settings, info: ModelInfo) -> str:
    """Which other engines the loaded model could use on its device, and what is missing to have the rest."""
    from dobby_dagster.inference.engine_choice import candidates, needs

    needed = {need.device: need for need in needs(settings.model, settings.inference)}
    reasons = candidates(replace(needed[info.device], dtype=info.dtype, requested="auto"))
    usable = [name for name, reason in reasons.items() if not reason and name != info.engine]
    others = [name for name in _for_device(info.device, reasons) if name != info.engine]
    unusable = [f"not {name}: {reasons[name]}" for name in others if reasons[name]]
    return "; ".join([f"could use {', '.join(usable)}" if usable else "no other can be used", *unusable])


def _device_row(device: dict[str, Any]) -> list[str]:
    reasons = device["others"]
    others = [f"{name}: {reasons[name] or 'usable too'}" for name in _for_device(device["device"], reasons)]
    name = device["device"] + (f"\n{device['obstacle']}" if device["obstacle"] else "")
    return [name, device["engine"] or "none", device["reason"], "\n".join(others)]


def _for_device(device: str, names: Iterable[str]) -> list[str]:
    from dobby_dagster.inference.engine_features import ENGINES

    return [name for name in names if device in (*ENGINES[name].devices, *ENGINES[name].on_request)]
