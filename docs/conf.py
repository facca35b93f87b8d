"""How Sphinx builds the documentation: ``make site`` writes it to ``build/site``.

The pages are the Markdown files of this folder, which read well without it too; ``api/`` is made of the docstrings.
"""

from __future__ import annotations

import re
from inspect import isclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

import dobby_dagster
import dobby_dagster.definitions  # before autodoc imports modules with TYPE_CHECKING, which Dagster's models can't bear

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Dobby"
version = release = dobby_dagster.__version__
copyright = "the authors of Dobby"  # noqa: A001
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"Dobby {version}"
html_copy_source = False
exclude_patterns = ["conf.py"]

# Headings get the anchors that GitHub gives them, so that one link works in both places.
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True
# Two pages may describe one class: the public interface and the part that it belongs to.
suppress_warnings = ["ref.python"]

# A link to a file outside docs/ has no page here; its text stays.
_OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\((?:\.\./)+(?:deploy|models|training|bench|dobby_dagster)[^)]*\)")

_TWO_ATTRIBUTES = re.compile(r"(\s+)(\w+), (\w+): (.*)")


def _drop_links_outside(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = _OUTSIDE.sub(r"\1", source[0])


def _one_attribute_a_line(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Split ``first, second: meaning`` in a list of attributes, which Napoleon takes for one name and a type."""
    found = []
    for line in lines:
        both = _TWO_ATTRIBUTES.match(line)
        found += [f"{both[1]}{both[2]}: As ``{both[3]}``.", f"{both[1]}{both[3]}: {both[4]}"] if both else [line]
    lines[:] = found


def _describe_fields(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Add the fields of a pydantic model, each with its type, its default and its description."""
    if not (isclass(thing) and issubclass(thing, BaseModel)):
        return
    for field, info in thing.model_fields.items():
        value = info.get_default(call_default_factory=True)
        default = "" if info.is_required() or isinstance(value, BaseModel) else f", default ``{value!r}``"
        lines += ["", f"``{field}`` ({_kind(info.annotation)}{default}): {info.description or ''}"]


def _kind(annotation: Any) -> str:
    """A type as a reader knows it, without the conditions that come after it in the settings."""
    parts = get_args(annotation)
    if not parts:
        return "none" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_kind(part) for part in parts)
    if get_origin(annotation) is Annotated:
        return _kind(parts[0])
    if get_origin(annotation) is Literal:
        return " or ".join(f"``{part}``" for part in parts)
    return f"{get_origin(annotation).__name__} of {' and '.join(_kind(part) for part in parts if part is not ...)}"


def _signature(app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str, result: str) -> Any:
    """No signature for a pydantic model: it would repeat every field with its conditions."""
    return ("", result) if isclass(thing) and issubclass(thing, BaseModel) else None


def setup(app: Sphinx) -> None:
    """Connect the corrections."""
    app.connect("source-read", _drop_links_outside)
    app.connect("autodoc-process-docstring", _one_attribute_a_line, priority=400)  # before Napoleon
    app.connect("autodoc-process-docstring", _describe_fields)
    app.connect("autodoc-process-signature", _signature)
