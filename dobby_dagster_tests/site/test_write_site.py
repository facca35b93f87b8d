"""Whole sites of real databases: what is on the pages, what is written again, and what untrusted records can't do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.domain.code_graph import Edge, EdgeKind, FoundBy
from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.records import Content, Record
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.site.site_build import SiteOptions, SiteResult, write_site
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put
from dobby_dagster_tests.helpers.report_html import Parts

EVIL = "</script></pre></title><img src=x onerror=alert(1)><script>alert(1)</script>\u202e\x1b[31m\0"


def built(store: CozoStore, output: Path, **options: Any) -> SiteResult:
    wanted = SiteOptions(**{"recipe": store.recipes.latest() or RECIPE.id} | options)
    return write_site(store, store.source(SourceSettings()), wanted, output)


def code(store: CozoStore, files: dict[str, dict[str, str]]) -> None:
    """Records as an ingestion makes them, summarised."""
    records = [
        Record(
            f"{path}::{name}" if name else path,
            text,
            "/src",
            "function",
            "python",
            metadata={"path": path, "line": line, "name": name},
        )
        for path, parts in files.items()
        for line, (name, text) in enumerate(parts.items(), 1)
    ]
    store.records.put_changed(records, "/src")
    run(store, FakeEngine())


def bytes_in(site: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(site)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in site.rglob("*")
        if path.is_file() and path.name != "dobby-site.json"
    }


def page(path: Path) -> Parts:
    parts = Parts(path.read_text(encoding="utf-8"))
    assert parts.unclosed == []
    return parts


def changed(site: Path, before: dict[str, tuple[bytes, int]]) -> set[str]:
    return {name for name, found in bytes_in(site).items() if before.get(name) != found}


def test_a_file_has_its_records_with_their_code_and_links_to_what_they_call(
    sqlite_store: CozoStore, tmp_path: Path
) -> None:
    code(
        sqlite_store,
        {"src/a.py": {"f": "def f(): return g()", "A.m": "def m(self): FAIL"}, "src/lib/b.py": {"g": "def g(): ..."}},
    )
    sqlite_store.graph.replace("/src", [
        Edge("src/a.py::f", EdgeKind.CALLS, "src/lib/b.py::g", FoundBy.NAME, 0.6),
        Edge("src/a.py", EdgeKind.IMPORTS, "numpy", FoundBy.IMPORT, 1.0),
    ])  # fmt: skip
    built(sqlite_store, tmp_path / "site")
    found = page(tmp_path / "site/pages/src/a.py.html")
    assert "It says def f(): return g() indeed." in found.text
    assert "Failed: told to fail" in found.text
    assert "confidence 0.61" in found.text
    assert "def f(): return g()" in found.text
    assert "60 % certain" in found.text
    assert "numpy" in found.text
    addresses = {link["href"] for link in found.all("a")}
    assert {"lib/b.py.html#::g", "../../index.html", "#::A.m", "../../statistics.html"} <= addresses
    assert "a.py.html#::f" in str(page(tmp_path / "site/pages/src/lib/b.py.html").all("a"))
    statistics = page(tmp_path / "site/statistics.html").text
    for text in ("told to fail", "python", "function", "Mean confidence"):
        assert text in statistics


def test_summaries_of_files_and_folders_head_their_pages(sqlite_store: CozoStore, tmp_path: Path) -> None:
    code(sqlite_store, {"src/a.py": {"f": "def f(): pass"}, "src/b.py": {"g": "def g(): pass"}})
    derived = [
        Record(
            place,
            f"outline of {kind}",
            "/src",
            kind,
            "python",
            metadata={"path": place, "line": 1, "name": "", "derived": True},
        )
        for place, kind in (("src", "package"), ("src/a.py", "file"))
    ]
    sqlite_store.records.put_changed(derived, "/src")
    run(sqlite_store, FakeEngine())
    built(sqlite_store, tmp_path / "site")
    first = page(tmp_path / "site/index.html").text
    assert "It says outline of package indeed." in first
    assert "It says outline of file indeed." in first, "with each part's summary"
    file = page(tmp_path / "site/pages/src/a.py.html").text
    assert "It says outline of file indeed." in file
    assert file.count("outline of file") == 1, "an outline is no content to read: its parts are on the page"


def test_one_edit_changes_the_pages_of_its_record_only(sqlite_store: CozoStore, tmp_path: Path) -> None:
    files = {
        f"src/p{n}/m{m}.py": {f"f{k}": f"def f{n}{m}{k}(): pass" for k in range(3)} for n in range(3) for m in range(3)
    }
    code(sqlite_store, files)
    site = tmp_path / "site"
    first = built(sqlite_store, site)
    assert first.written == len(bytes_in(site))
    before = bytes_in(site)
    again = built(sqlite_store, site)
    assert (again.written, again.unchanged, again.removed) == (0, first.written, 0)
    assert changed(site, before) == set()

    files["src/p1/m1.py"]["f1"] = "def f(): return 'edited'"
    code(sqlite_store, files)
    assert built(sqlite_store, site).written == 2
    assert changed(site, before) == {"pages/src/p1/m1.py.html", "assets/search/00.js"}

    del files["src/p1/m1.py"]
    sqlite_store.records.remove([f"src/p1/m1.py::f{k}" for k in range(3)])
    assert built(sqlite_store, site).removed == 1
    assert not (site / "pages/src/p1/m1.py.html").exists()


def test_a_stale_summary_is_shown_as_stale(sqlite_store: CozoStore, tmp_path: Path) -> None:
    put(sqlite_store, {"a": "the old text", "b": "other"})
    run(sqlite_store, FakeEngine())
    put(sqlite_store, {"a": "the new text"})
    built(sqlite_store, tmp_path / "site")
    found = page(tmp_path / "site/index.html").text
    assert "It says the old text indeed." in found
    assert "Changed since this summary." in found
    assert "1 changed since the summary" in found


def test_without_contents(sqlite_store: CozoStore, tmp_path: Path) -> None:
    put(sqlite_store, {"a": "SECRET words of one two three four"})
    run(sqlite_store, FakeEngine())
    built(sqlite_store, tmp_path / "site", content=False)
    found = page(tmp_path / "site/index.html")
    assert "It says SECRET words of one two three indeed." in found.text
    assert "three four" not in "".join(path.read_text() for path in (tmp_path / "site").rglob("*.*") if path.is_file())


def test_a_prefix_and_a_title(sqlite_store: CozoStore, tmp_path: Path) -> None:
    put(sqlite_store, {"a/x": "one", "a/y": "two", "b": "three"})
    result = built(sqlite_store, tmp_path / "site", prefix="a/", title="<b>Mine</b>")
    assert result.records == 2
    assert "<b>Mine</b>" in page(tmp_path / "site/index.html").text
    with pytest.raises(SourceError, match="no key of relation 'record' begins with 'zz'"):
        built(sqlite_store, tmp_path / "none", prefix="zz")
    assert not (tmp_path / "none").exists()


CONTENTS: dict[str, Content] = {
    EVIL.replace("\0", ""): EVIL,
    "../../../etc/passwd": "x",
    "/etc/passwd": "x",
    "javascript:alert(1)": "x",
    "data:text/html,<script>alert(1)</script>/a": "x",
    "a": "x",
    "A": "x",
    "a/b": "x",
    "a/b/c": "x",
    "con/aux.txt::f": "x",
    "n" * 5_000 + "/" + "m" * 5_000: "x",
    "\u202egpj.exe": "\u202e",
    "": "the empty key",
    "empty": "",
    "bytes": b"\xff\xfe\x00",
    "structured": {"a": "</script>", "b": [1, 2]},
    "long": "y" * 100_000,
    "tree.py::</h1><script>alert(1)</script>": EVIL,
}


def test_untrusted_records_are_text(sqlite_store: CozoStore, tmp_path: Path) -> None:
    put(sqlite_store, CONTENTS)
    run(sqlite_store, FakeEngine())
    sqlite_store.connection.run(
        "?[source, key, fingerprint, text] := *dobby_summary{source, key, fingerprint}, text = $text :update dobby_summary {source, key, fingerprint => text}",
        {"text": EVIL}, write=True,
    )  # fmt: skip
    built(sqlite_store, tmp_path / "site", title=EVIL)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("etc")] == []
    files = bytes_in(tmp_path / "site")
    names = [name.casefold() for name in files]
    assert len(set(names)) == len(names)
    for name, (content, _) in files.items():
        text = content.decode("utf-8")
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", text), name
        if name.startswith("assets/search/"):
            assert "<" not in text
        if not name.endswith(".html"):
            continue
        found = page(tmp_path / "site" / name)
        assert [attributes.get("src", "").rpartition("/")[2] for attributes in found.all("script")] == ["site.js"]
        assert found.all("img") == found.all("style") == found.all("iframe") == []
        for tag, attributes in found.elements:
            assert not [each for each in attributes if each.startswith("on") or each == "style"], (tag, attributes)
        for link in found.all("a"):
            address = str(link["href"])
            assert re.fullmatch(r"[A-Za-z0-9_.~/:#-]+", address)
            assert ":" not in address.partition("#")[0]
            target, _, anchor = address.partition("#")
            file = (tmp_path / "site" / name).parent / target if target else tmp_path / "site" / name
            assert file.resolve().is_relative_to(tmp_path / "site")
            assert file.is_file()
            assert not anchor or f'id="{anchor}"' in file.read_text()


def test_every_page_forbids_what_is_not_the_sites_own(sqlite_store: CozoStore, tmp_path: Path) -> None:
    put(sqlite_store, {"a/b": "x", "c": "y"})
    built(sqlite_store, tmp_path / "site")
    for path in (tmp_path / "site").rglob("*.html"):
        [policy] = [each["content"] for each in page(path).all("meta") if each.get("http-equiv")]
        assert policy is not None
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';")
        assert "unsafe" not in policy
        assert "http" not in path.read_text().replace("http-equiv", "")
