"""A report as its parts, and a page on some records, for tests of both."""

from __future__ import annotations

from html.parser import HTMLParser

from dobby_dagster.domain.settings import Settings, SourceSettings
from dobby_dagster.pipeline.reporting.model_evidence import ModelEvidence
from dobby_dagster.pipeline.reporting.report_figures import report_figures
from dobby_dagster.pipeline.reporting.report_page import report_page
from dobby_dagster.pipeline.reporting.report_texts import ReportSubject
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.report_pages import Extent
from dobby_dagster_tests.helpers.pipeline_run import RECIPE

EMPTY_ELEMENTS = {"meta", "br", "link", "img", "input"}


class Parts(HTMLParser):
    """The elements, attributes and text of a page.

    Attributes:
        elements: Every start tag with its attributes.
        text: All text but the style sheet's, with spaces between cells.
        styles: The style sheet's.
        unclosed: Elements that were opened and not closed, innermost last.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.styles = "", ""
        self.unclosed: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY_ELEMENTS:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag, f"</{tag}> closes nothing"
        self.text += " " if tag in ("td", "th", "dt", "dd") else ""

    def handle_data(self, data: str) -> None:
        if "style" in self.unclosed:
            self.styles += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]


def page_of(store: CozoStore, extent: Extent | None = None, evidence: ModelEvidence | None = None) -> str:
    """The report on everything in the relation ``record``, unless another ``extent`` is given."""
    source = store.source(SourceSettings())
    figures = report_figures(store, source, extent or Extent("record", RECIPE.id), Settings(), RECIPE.model)
    return report_page(figures, ReportSubject("sqlite:///x.db", 0.1, store.recipes.all(), evidence or ModelEvidence()))
