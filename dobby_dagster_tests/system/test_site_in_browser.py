"""A site from the disk in a real browser: search, keyboard, colours, and nothing in a record that acts."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.site.site_build import SiteOptions, write_site
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.browser import browser, emulate, logged, style, until
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put

__all__ = ["browser"]

HOSTILE = {
    "evil.py::<img src=x onerror=\"document.title='owned'\">": "</script><script>document.title = 'owned'</script>",
    "evil.py::'); document.title = 'owned'; ('": "\u202e <iframe src='http://evil.test'></iframe> more",
    "javascript:document.title='owned'": "javascript:document.title='owned'",
}


@pytest.fixture
def site(sqlite_store: CozoStore, tmp_path: Path) -> Path:
    rows = {f"pkg/m{i % 7}.py::read_file{i}": f"word{i} {'UNSURE' if i % 9 == 0 else ''}" for i in range(60)}
    rows |= {"pkg/io.py::parseHeader": "reads the head of a message", "pkg/io.py::other": "calls parse on a header"}
    put(sqlite_store, rows | HOSTILE)
    run(sqlite_store, FakeEngine())
    write_site(
        sqlite_store, sqlite_store.source(SourceSettings()), SiteOptions("Demo", recipe=RECIPE.id), tmp_path / "site"
    )
    return tmp_path / "site"


@pytest.fixture
def opened(browser: webdriver.Chrome, site: Path) -> webdriver.Chrome:
    browser.get((site / "index.html").as_uri())
    return browser


def search(browser: webdriver.Chrome, text: str) -> list[str]:
    browser.find_element(By.ID, "query").clear()
    browser.find_element(By.ID, "query").send_keys(text)
    until(lambda: browser.find_element(By.ID, "count").text not in ("", "Loading…"), "the search")
    return [found.text for found in browser.find_elements(By.CSS_SELECTOR, "#results b")]


def test_pages_and_search_load_files_of_the_site_only(opened: webdriver.Chrome, site: Path) -> None:
    sent = [event["params"] for event in logged(opened) if event["method"] == "Network.requestWillBeSent"]
    loaded = {each["request"]["url"] for each in sent if each["documentURL"].startswith("file:")}
    assert len(loaded) >= 3
    assert all(url.startswith(site.as_uri()) for url in loaded)
    assert not any("assets/search/" in url for url in loaded), "the search data is loaded when it is needed"
    assert search(opened, "word17")
    assert opened.get_log("browser") == [], "neither errors nor refusals by the page's policy"


def test_search_finds_words_of_names_and_summaries_by_their_beginnings(opened: webdriver.Chrome) -> None:
    assert search(opened, "pars head")[:2] == ["parseHeader text", "other text"], "a name counts more than a summary"
    assert search(opened, "parseheader") == ["parseHeader text"]
    assert len(search(opened, "read")) == 40
    assert opened.find_element(By.ID, "count").text == "61 results, the first 40 of them"
    assert search(opened, "io.py")[0] == "io.py file"
    assert search(opened, "how are headers parsed")[:2] == ["parseHeader text", "other text"], "a question in words"
    assert search(opened, "zebra") == []
    assert opened.find_element(By.ID, "count").text == "Nothing found"


def test_a_result_leads_to_its_record(opened: webdriver.Chrome) -> None:
    search(opened, "read_file17")
    opened.find_element(By.ID, "query").send_keys(Keys.ARROW_DOWN, Keys.NULL)
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    until(lambda: "m3.py" in opened.current_url, "the page")
    assert opened.current_url.endswith("pages/pkg/m3.py.html#::read_file17")
    assert "word17" in opened.find_element(By.CSS_SELECTOR, ":target").text
    opened.find_element(By.CSS_SELECTOR, ".crumbs a").send_keys(Keys.ENTER)
    until(lambda: opened.current_url.endswith("index.html"), "the way back")


def test_nothing_in_a_record_acts(opened: webdriver.Chrome, site: Path) -> None:
    for path in sorted(site.rglob("*.html")):
        opened.get(path.as_uri())
        for text in ("owned", "evil", "javascript", "onerror"):
            assert search(opened, text)
        assert opened.find_elements(By.CSS_SELECTOR, "img, iframe, object, style") == []
        opened.execute_script(
            "const s = document.createElement('script'); s.textContent = \"document.title = 'owned'\"; document.body.append(s);"
            "document.body.setAttribute('style', 'display: none'); location.hash = ''"
        )
        assert "owned" not in opened.title.replace("javascript:document.title='owned'", "")
        assert style(opened, "body", "display") != "none"
        hrefs = opened.execute_script("return [...document.querySelectorAll('a')].map(a => a.href)")
        assert all(href.startswith(site.as_uri()) for href in hrefs)


def test_keyboard(opened: webdriver.Chrome) -> None:
    opened.switch_to.active_element.send_keys(Keys.TAB)
    assert opened.switch_to.active_element.get_attribute("href").endswith("#main")
    opened.find_element(By.TAG_NAME, "body").send_keys("/")
    assert opened.switch_to.active_element.get_attribute("id") == "query"
    assert search(opened, "read_file1")
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not opened.find_element(By.ID, "found").is_displayed()


def test_it_fits_every_screen_in_light_and_dark(opened: webdriver.Chrome, site: Path) -> None:
    grounds = set()
    for path in ("index.html", "pages/pkg/m3.py.html", "statistics.html"):
        opened.get((site / path).as_uri())
        for width in (320, 800, 1600):
            for scheme in ("light", "dark"):
                emulate(opened, scheme, width)
                assert opened.execute_script("return document.documentElement.scrollWidth") <= width, (path, width)
                grounds.add((scheme, style(opened, "html", "backgroundColor")))
    assert grounds == {("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 27)")}


def test_the_accessibility_tree_has_landmarks_with_names(opened: webdriver.Chrome, site: Path) -> None:
    opened.get((site / "pages/pkg/m3.py.html").as_uri())
    nodes = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    roles = [role for role, _ in found]
    for role in ("banner", "main", "contentinfo", "search"):
        assert roles.count(role) == 1, role
    assert {name for role, name in found if role == "navigation"} == {"Site", "Breadcrumb", "On this page"}
    assert ("searchbox", "Search names and summaries") in found
    assert all(name for role, name in found if role in ("link", "heading", "region"))


def test_without_javascript_all_but_the_search_is_there(opened: webdriver.Chrome, site: Path) -> None:
    opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    opened.get((site / "pages/pkg/m3.py.html").as_uri())
    assert "word17" in opened.find_element(By.TAG_NAME, "main").text
    assert not opened.find_element(By.ID, "query").is_displayed()
    opened.find_element(By.LINK_TEXT, "Statistics").click()
    until(lambda: "Mean confidence" in opened.find_element(By.TAG_NAME, "main").text, "the statistics")
