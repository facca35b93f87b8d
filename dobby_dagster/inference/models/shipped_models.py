"""The models that are shipped with Dobby."""

from __future__ import annotations

from pathlib import Path

from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.settings import DEFAULT_MODEL

_PACKAGE = Path(__file__).resolve().parents[2]
SHELVES = (_PACKAGE / "shipped" / "models", _PACKAGE.parent / "models")
SHIPPED = (DEFAULT_MODEL, SMALL_MODEL)
# It lies on the same shelves, but writes no summaries.
BUILT_IN_EMBEDDING = "dobby-search-256"


def is_shipped(path: Path) -> bool:
    """Whether a folder is one of the models that ship with Dobby; others may lie beside them in a checkout."""
    return path.resolve().parent in SHELVES and path.name in SHIPPED


def shelf() -> dict[str, Path]:
    """The models that are shipped with Dobby, and those beside them, by name."""
    folders = (path for place in SHELVES if place.is_dir() for path in sorted(place.iterdir()) if path.is_dir())
    return {path.name: path for path in folders if path.name != BUILT_IN_EMBEDDING}


def another_model(path: str) -> str:
    """A model to suggest where the one at ``path`` is unsure: the default one, else a placeholder."""
    return "PATH" if Path(path).name == DEFAULT_MODEL or DEFAULT_MODEL not in shelf() else DEFAULT_MODEL
