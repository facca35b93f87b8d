"""Which engine can run what is needed, by the table of engines; ``model.engine = auto`` takes the first."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.engine_features import DEVICES, ENGINES, Feature
from dobby_dagster.inference.local.devices import Placement, available
from dobby_dagster.inference.models.model_config import ModelConfig
from dobby_dagster.inference.models.model_lookup import find_model
from dobby_dagster.inference.models.model_source import ModelSource
from dobby_dagster.inference.optional_packages import missing


@dataclass(frozen=True, slots=True)
class Need:
    """What an engine has to support.

    Attributes:
        device, dtype: As chosen for the model.
        quantization: As in ``model.quantization``, but never auto.
        requested: ``auto``, or the engine that ``model.engine`` names.
        features: Each with the reason for people why an engine without it can't be used.
    """

    device: str
    dtype: str = "float32"
    quantization: str = "none"
    requested: str = "auto"
    features: Mapping[Feature, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Host:
    """A machine: its processor, and which packages are missing, with how to install them (``""``: none)."""

    processor: str = field(default_factory=platform.machine)
    missing: Callable[..., str] = field(default_factory=lambda: missing)


def need_of(config: ModelConfig, model: ModelSettings, inference: InferenceSettings, placement: Placement) -> Need:
    """What a model with these settings needs, on the device that was chosen for it."""
    modes = {Feature.REPRODUCIBLE: "it has no reproducible mode"} if inference.reproducible else {}
    features = modes | config.special_features
    return Need(placement.device, placement.dtype, model.quantization, model.engine, features)


def needs(model: ModelSettings, inference: InferenceSettings) -> dict[Need, str]:
    """What the model of these settings needs on each device, with why that device can't be used here.

    Raises:
        ModelError: The model can't be used.
    """
    if model.url:
        return {Need("server"): ""}
    source = find_model(model)
    dtype = "float32" if model.dtype == "auto" else model.dtype
    return {
        need_of(
            source.config, with_quantization(model, inference, source, device), inference, Placement(device, dtype, "")
        ): obstacle
        for device, obstacle in available().items()
    }


def with_quantization(
    model: ModelSettings, inference: InferenceSettings, source: ModelSource, device: str, host: Host | None = None
) -> ModelSettings:
    """``model`` with the quantization that ``auto`` stands for on ``device``: int8 or none.

    It is int8 for a model that is stored in int8 where the engine that would run it computes with the stored numbers:
    then it is faster, and as good as with the weights dequantized (docs/model). A requested dtype and the reproducible
    mode mean other numbers, so there it is none.

    Args:
        model: Settings; any other quantization is left as it is.
        inference: Whether reproducible mode is on.
        source: The model.
        device: Where it runs.
        host: The machine; None: this one.
    """
    if model.quantization != "auto":
        return model
    int8 = model.model_copy(update={"quantization": "int8"})
    if source.keeps_int8 and model.dtype == "auto" and not inference.reproducible:
        engine = chosen(candidates(need_of(source.config, int8, inference, Placement(device, "float32", "")), host))
        if engine and ENGINES[engine].keeps_int8:
            return int8
    return model.model_copy(update={"quantization": "none"})


def candidates(need: Need, host: Host | None = None) -> dict[str, str]:
    """The engines that may be taken, in order of preference, each with the first reason why it can't be.

    Args:
        need: What the engine has to support.
        host: Where it would run; None: here.

    Returns:
        Reasons by engine; ``""`` where there is none. The first of these is the one to take.

    >>> candidates(Need("mps", quantization="int8"), Host("arm64", lambda *packages: ""))["packed"]
    "it is for the CPU, not for Apple's GPU"
    """
    served = need.device == "server"
    local = [name for name, engine in ENGINES.items() if ("server" in engine.devices) == served]
    names = local if need.requested == "auto" else [need.requested]
    return {name: next(filter(None, _obstacles(name, need, host or Host())), "") for name in names}


def chosen(reasons: Mapping[str, str]) -> str | None:
    """The first engine without a reason against it; None where each has one."""
    return next((name for name, reason in reasons.items() if not reason), None)


def way_out(need: Need, host: Host | None = None) -> str:
    """Which ``model.engine`` to use after nothing could be loaded; ``""`` where no other engine can run the model.

    >>> way_out(Need("cpu", quantization="int4"), Host("x86_64", lambda *packages: ""))
    'use model.engine = mlx'
    """
    by_auto = [name for name, reason in candidates(replace(need, requested="auto"), host).items() if not reason]
    if need.requested != "auto" and any(name != need.requested for name in by_auto):
        return "use model.engine = auto"
    on_request = (name for name in ENGINES if name != need.requested and not by_auto and need.device != "server")
    usable = (name for name in on_request if chosen(candidates(replace(need, requested=name), host)))
    return next((f"use model.engine = {name}" for name in usable), "")


def _obstacles(name: str, need: Need, host: Host) -> Iterator[str]:
    engine, device, quantization = ENGINES[name], need.device, need.quantization
    if device not in engine.devices and not (need.requested != "auto" and device in engine.on_request):
        made_for = " and ".join(DEVICES[each] for each in engine.devices)
        asked = f"and on {DEVICES[device]} only by model.engine = {name}"
        yield f"it is for {made_for}, {asked if device in engine.on_request else f'not for {DEVICES[device]}'}"
    if engine.dtypes and need.dtype not in engine.dtypes:
        yield f"it has no {need.dtype}"
    if engine.packages:
        yield host.missing(*engine.packages)
    if engine.processors and host.processor not in engine.processors:
        yield f"it is tested on x86-64 only, not on {host.processor}"
    if quantization != "none" and quantization not in engine.quantizations.get(device, ()):
        elsewhere = [DEVICES[other] for other, kinds in engine.quantizations.items() if quantization in kinds]
        yield f"its {quantization} is for {' and '.join(elsewhere)} only" if elsewhere else f"it has no {quantization}"
    for feature, reason in need.features.items():
        if feature not in engine.features:
            yield reason
