"""Pages as HTML, from their values.

Keys, contents, summaries and names are untrusted. Each is escaped twice, for all expressions of the templates at once:
invisible characters become escapes, then HTML's own characters entities. Should that ever fail, the policy of each page
allows no script and no style but the site's own files.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from dobby_dagster import __version__
from dobby_dagster.domain.confidence_text import shown_confidence
from dobby_dagster.domain.plurals import counted
from dobby_dagster.domain.printable import printable, shortened
from dobby_dagster.site.entry import SURE_FROM, Level
from dobby_dagster.site.highlighted_code import highlighted
from dobby_dagster.site.languages import LANGUAGES
from dobby_dagster.site.page_views import LevelCounts, PlacePage
from dobby_dagster.site.site_statistics import SiteStatistics

_LOOK = files("dobby_dagster.site") / "look"
_TEMPLATES = ("base.html.jinja", "marks.html.jinja", "place.html.jinja", "statistics.html.jinja")
_ASSETS = ("site.css", "site.js", "icon.svg")
_MEANING = {
    Level.SURE: "sure",
    Level.FAIR: "fairly sure",
    Level.UNSURE: "unsure",
    Level.UNKNOWN: "of unknown confidence",
    Level.STALE: "changed since the summary",
    Level.FAILED: "failed",
    Level.NONE: "without a summary",
}


@dataclass(frozen=True)
class Renderer:
    """Makes the HTML of all pages of one site.

    Attributes:
        title: Of the site.
        unsure_below: Summaries with a lower confidence are unsure.
    """

    title: str
    unsure_below: float

    def page(self, page: PlacePage | SiteStatistics) -> str:
        """The HTML of ``page``; without lone surrogates, so that it can be encoded in UTF-8."""
        shared = {"page": page, "path": page.path, "root": "../" * page.path.count("/")}
        if isinstance(page, SiteStatistics):
            return self._statistics.render(shared, unsure_below=self.unsure_below, sure_from=SURE_FROM)
        return self._place.render(shared, total=_total(page.counts))

    def digest(self, page: PlacePage | SiteStatistics) -> str:
        """Of everything that decides the HTML of ``page``: equal digests mean equal pages."""
        return sha256(f"{self._look}\n{page!r}".encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def _look(self) -> str:
        parts = [__version__, self.title, repr(self.unsure_below), *map(_text, _TEMPLATES), repr(LANGUAGES)]
        return sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def _environment(self) -> Environment:
        environment = Environment(
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
            finalize=_visible,
            loader=FunctionLoader(_text),
        )
        environment.globals |= {
            "title": self.title,
            "meaning": _MEANING,
            "code_languages": LANGUAGES.keys() - {"markdown"},
        }
        environment.filters |= {
            "short": shortened, "thousands": "{:,}".format, "counted": counted, "highlighted": highlighted,
            "total": _total, "last_of": _last_of, "day": _day,
            "confidence": shown_confidence,
        }  # fmt: skip
        return environment

    @cached_property
    def _place(self) -> Template:
        return self._environment.get_template("place.html.jinja")

    @cached_property
    def _statistics(self) -> Template:
        return self._environment.get_template("statistics.html.jinja")


def assets() -> dict[str, str]:
    """The files that all pages share, by their path: style sheet, script, icon.

    GitHub Pages leaves out files whose names begin with ``_``, unless there is a file ``.nojekyll``.
    """
    return {f"assets/{name}": _text(name) for name in _ASSETS} | {".nojekyll": ""}


def _text(name: str) -> str:
    return (_LOOK / name).read_text(encoding="utf-8")


def _visible(value: Any) -> Any:
    """``value`` as the template writes it: text that is not ours has no invisible character left."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value, lines=True)


def _total(counts: LevelCounts) -> int:
    return sum(count for _, count in counts)


def _last_of(name: str, depth: int) -> str:
    """``name`` inside the one that it is indented below."""
    return name.rpartition(".")[2] if depth else name


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at))
