"""The report in a real browser: nothing is requested, nothing is refused, and it can be read anywhere."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.browser import browser, emulate, logged, style
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import run
from dobby_dagster_tests.helpers.records import put
from dobby_dagster_tests.helpers.report_html import page_of

__all__ = ["browser"]

HOSTILE = {
    "<script>document.title = 'owned'</script>": "<img src='http://evil.test/x.png' onerror='document.title = 1'>",
    "</pre></main><style>* { display: none }</style>": "\u202eword </pre><iframe src='http://evil.test'></iframe>",
    "k" * 400: "x" * 5_000,
}


@pytest.fixture
def page(sqlite_store: CozoStore, tmp_path: Path) -> Path:
    """A report on 60 records, some failed, some hostile."""
    rows = {f"k{i:02d}": f"word{i} {'FAIL' if i % 9 == 0 else ''}" for i in range(60)}
    put(sqlite_store, rows | HOSTILE)
    run(sqlite_store, FakeEngine())
    file = tmp_path / "report.html"
    file.write_text(page_of(sqlite_store), encoding="utf-8")
    return file


@pytest.fixture
def opened(browser: webdriver.Chrome, page: Path) -> webdriver.Chrome:
    browser.get(page.as_uri())
    return browser


def requests(browser: webdriver.Chrome, page: Path) -> dict[str, str]:
    """The addresses that ``page`` asked for, by the identifier of the request; the browser's own pages left out."""
    sent = [event["params"] for event in logged(browser) if event["method"] == "Network.requestWillBeSent"]
    return {event["requestId"]: event["request"]["url"] for event in sent if event["documentURL"] == page.as_uri()}


def test_it_requests_nothing_and_nothing_in_it_acts(opened: webdriver.Chrome, page: Path) -> None:
    assert list(requests(opened, page).values()) == [page.as_uri()]
    assert opened.get_log("browser") == [], "neither errors nor refusals by the page's policy"
    assert opened.title == "Dobby report: record"
    assert opened.find_elements(By.CSS_SELECTOR, "script, img, iframe, link, object, style:not(head style)") == []
    assert "<script>document.title" in opened.find_element(By.TAG_NAME, "main").text
    assert opened.find_element(By.TAG_NAME, "footer").is_displayed()


def test_the_policy_refuses_what_would_be_added(opened: webdriver.Chrome) -> None:
    list(logged(opened))
    opened.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = 1'; document.body.append(s);"
        "const i = document.createElement('img'); i.src = 'http://evil.test/x.png'; document.body.append(i);"
        "document.body.setAttribute('style', 'display: none')"
    )
    assert opened.title == "Dobby report: record"
    assert style(opened, "body", "display") != "none"
    refused = [
        event["params"]["blockedReason"] for event in logged(opened) if event["method"] == "Network.loadingFailed"
    ]
    assert refused == ["csp"]


def test_plots_follow_the_colour_scheme(opened: webdriver.Chrome) -> None:
    seen = []
    for scheme, media in (("light", ""), ("dark", ""), ("dark", "print")):
        emulate(opened, scheme, media=media)
        path = "figure svg path[stroke='var(--first)']"
        seen.append((style(opened, "html", "backgroundColor"), style(opened, path, "stroke")))
    light, dark, printed = seen
    assert light == ("rgb(255, 255, 255)", "rgb(36, 96, 167)")
    assert dark == ("rgb(20, 23, 27)", "rgb(127, 179, 238)")
    assert printed == light, "paper is white"


def test_it_fits_every_screen(opened: webdriver.Chrome) -> None:
    for width in (320, 400, 800, 1600):
        emulate(opened, width=width)
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
        sizes = opened.execute_script(
            "return [...document.querySelectorAll('figure svg')].map(s => ["
            "Math.min(...[...s.querySelectorAll('text')].map(t => t.getBoundingClientRect().height)),"
            "s.getBoundingClientRect().width])"
        )
        assert len(sizes) >= 5
        assert all(height >= 9 and plot <= width for height, plot in sizes), sizes


def test_it_can_be_used_by_keyboard(opened: webdriver.Chrome) -> None:
    focused = []
    for _ in range(9):
        opened.switch_to.active_element.send_keys(Keys.TAB)
        focused.append(opened.switch_to.active_element.get_attribute("href"))
    assert [str(href).rpartition("#")[2] for href in focused] == [
        "main", "records", "speed", "tokens", "confidence", "failures", "contracts", "doubtful", "sample",
    ]  # fmt: skip
    assert style(opened, ":focus", "outlineStyle") == "solid"


def test_the_accessibility_tree_names_plots_and_tables(opened: webdriver.Chrome) -> None:
    nodes = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    for role in ("image", "table", "figure", "region"):
        names = [name for kind, name in found if kind == role]
        assert names, role
        assert all(names), role
    assert [name for kind, name in found if kind == "main"] == [""]


def test_it_prints_on_paper(opened: webdriver.Chrome) -> None:
    printed = base64.b64decode(opened.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") >= 2
