"""The models that are shipped with Dobby."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[2]
SHELVES = (_PACKAGE / "shipped" / "models", _PACKAGE.parent / "models")
LARGER_MODEL = "dobby-code-73m"


def shelf() -> dict[str, Path]:
    """The models that are shipped with Dobby, by name."""
    return {path.name: path for place in SHELVES if place.is_dir() for path in sorted(place.iterdir()) if path.is_dir()}


def another_model(path: str) -> str:
    """A model to suggest where the one at ``path`` is unsure: the larger shipped one, else a placeholder."""
    return "PATH" if Path(path).name == LARGER_MODEL or LARGER_MODEL not in shelf() else LARGER_MODEL
