"""What is said of an adapted model, in its folder: ``dobby.json`` for Dobby, and ``README.md`` for people."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dobby_dagster.adaptation.comparison import Comparison
from dobby_dagster.adaptation.documented_records import Split
from dobby_dagster.adaptation.work_folder import ADAPTED
from dobby_dagster.domain.printable import printable
from dobby_dagster.inference.scoring.confidence import Calibration


@dataclass(frozen=True, slots=True)
class AdaptedFrom:
    """Where an adapted model comes from.

    Attributes:
        base, revision: Name and revision of the model that it started from.
        shipped: Whether that is one of Dobby's.
        split: The documented functions.
        comparison: Of both on the held-out ones.
        seed: Of the training.
    """

    base: str
    revision: str
    shipped: bool
    split: Split
    comparison: Comparison
    seed: int


def adapted_card(base: Mapping[str, Any], origin: AdaptedFrom, calibration: Calibration | None) -> str:
    """``dobby.json``: the fields of the base's card, with the origin and the calibration, as JSON."""
    learned = len(origin.split.learned)
    card = dict(base) | {
        "description": f"{origin.base}, adapted to one project by {learned:,} of its documented functions.",
        ADAPTED: {
            "base": origin.base,
            "base_revision": origin.revision,
            "date": _today(),
            "learned": learned,
            "seed": origin.seed,
            **asdict(origin.comparison),
        },
    }
    if calibration is not None:
        card["calibration"] = calibration.model_dump()
    return json.dumps(card, indent=2) + "\n"


def read_me(name: str, origin: AdaptedFrom, recalibrated: bool) -> str:
    """The model's card as Markdown."""
    files = len({one.file for one in origin.split.learned})
    licence = "Apache-2.0, as its base's" if origin.shipped else "that of its base"
    measured = "\n".join(
        f"| {each.name} | {each.before:.1f} % | {each.after:.1f} % | {each.low:+.1f} to {each.high:+.1f} |"
        for each in origin.comparison.differences
    )
    confidence = (
        "calibrated again on the held-out functions (`reliability.json`); for other kinds of content as its base's"
        if recalibrated
        else "as its base's: there were too few held-out functions to calibrate it again"
    )
    return f"""# {_code(name)}

{_code(origin.base)}, trained further by `dobby adapt` on the documented functions of one project.

| | |
|---|---|
| base | {_code(origin.base)}, revision `{origin.revision[:12]}` |
| licence | {licence} |
| data | {len(origin.split.learned):,} documented functions, methods and classes in {files:,} files of this project, without and with their documentation |
| held out, by file | {len(origin.split.stopping):,} to end the training, {origin.comparison.functions:,} to compare |
| date | {_today()} |
| confidence | {confidence} |

On the {origin.comparison.functions:,} held-out functions, with the quality gate and the second try of a run:

| | base | adapted | difference, 95 % |
|---|---|---|---|
{measured}

It was not measured on other projects. It may repeat sentences of this project's documentation.
"""  # noqa: E501


def _code(text: str) -> str:
    return f"`{printable(text).replace('`', '')}`"


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())
