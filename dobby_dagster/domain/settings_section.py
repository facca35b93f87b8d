"""A section of the settings: what all have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

# The largest value of a setting, by its unit.
LARGEST = {"seconds": 10**9, "days": 10**5, "bytes": 10**15, "other": 10**15}


class Section(BaseModel):
    """A group of settings; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _bounded(cls, value: Any, info: ValidationInfo) -> Any:
        """Reject infinite numbers, and those that a clock or a column can't hold."""
        if isinstance(value, int | float):
            unit = (info.field_name or "").rpartition("_")[2]
            most = LARGEST.get(unit, LARGEST["seconds"] if isinstance(value, float) else LARGEST["other"])
            if not abs(value) <= most:
                raise ValueError(f"must be at most {most:,}")
        return value
