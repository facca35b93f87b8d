"""The section ``[contracts]``: limits by the name of the contract, for all models or for a class of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, create_model, model_validator

from dobby_dagster.domain.contracts import CONTRACTS, Contract, PerformanceClass, figure_text
from dobby_dagster.domain.settings_section import Section
from dobby_dagster.domain.suggest import suggestion

# Batches of which the ledger keeps the figures as a baseline; a setting says how many of them count.
BASELINE_BATCHES = 20


def _limit_field(contract: Contract) -> tuple[Any, Any]:
    text = f"{contract.meaning}: {contract.kind} {figure_text(contract.limit)} {contract.unit}"
    return float | None, Field(None, ge=0, description=f"{text[0].upper()}{text[1:]}.")


_Limits = create_model("_Limits", __base__=Section, **{c.name: _limit_field(c) for c in CONTRACTS})  # type: ignore[call-overload]


class ClassLimits(_Limits):
    """Limits of one class; an empty name matches all.

    >>> ClassLimits(model="small", pipeline_records_per_second=5).matches(PerformanceClass("small", "cpu", "long"))
    True
    """

    model: str = ""
    device: str = ""
    prompt_length: Literal["", "short", "middle", "long", "unknown"] = ""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        for name in values if isinstance(values, Mapping) else ():
            if name not in cls.model_fields:
                raise ValueError(f"'{name}' names no contract, {suggestion(str(name), cls.model_fields)}")
        return values

    def matches(self, group: PerformanceClass) -> bool:
        """Whether these limits are for ``group``."""
        named = (self.model, group.model), (self.device, group.device), (self.prompt_length, group.prompt_length)
        return all(mine in ("", theirs) for mine, theirs in named)

    @property
    def names(self) -> int:
        """How many of model, device and prompt length are named; the limit of the entry with the most is taken."""
        return sum(map(bool, (self.model, self.device, self.prompt_length)))


class ContractSettings(_Limits):
    """Limits that replace those of the contracts.

    >>> settings = ContractSettings(
    ...     pipeline_error_rate=0.05, classes=[{"model": "small", "pipeline_error_rate": 0.2}]
    ... )
    >>> [settings.limit("pipeline_error_rate", PerformanceClass(name, "cpu", "short")) for name in ("small", "large")]
    [0.2, 0.05]
    """

    regression: float = Field(
        0.3, gt=0, lt=1, description="Share by which a model without limits may be worse than its own first batches."
    )
    baseline_batches: int = Field(
        3, ge=1, le=BASELINE_BATCHES, description="First batches of a model that are its baseline."
    )
    classes: tuple[ClassLimits, ...] = Field(
        (), description="Limits of a model, device or prompt length, as [[contracts.classes]]."
    )

    def limit(self, name: str, group: PerformanceClass) -> float | None:
        """The limit that is set for a contract in a class: the most specific one; None where none is set."""
        fitting = [entry for entry in self.classes if entry.matches(group) and getattr(entry, name) is not None]
        best: float | None = getattr(max(fitting, key=lambda entry: entry.names, default=self), name)
        return best
