from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.site.entry import Entry, Level, entry_of
from dobby_dagster.site.place_pages import PER_PAGE, place_pages, targets_of
from dobby_dagster.site.record_tree import Node, record_tree

PARTS = st.sampled_from(["a", "b", "", "..", "A"])
KEYS = st.builds(
    lambda names, part: "/".join(names) + part,
    st.lists(PARTS, min_size=1, max_size=5),
    st.sampled_from(["", "", "::f", "::C.f", "::", "#2"]),
)


def row(key: str, **named: Any) -> dict[str, Any]:
    return {
        "key": key, "state": "completed", "error": "", "reason": "", "summary": f"It is {key}.", "confidence": 0.9,
        "model": "m", "prompt": "p", "created_at": 1.0, "truncated": False, "finish_reason": "stop", "language": "python",
        "content_type": "function", "metadata": {}, "content": f"def {key}", **named,
    }  # fmt: skip


def entry(key: str, former: dict[str, Any] | None = None, **named: Any) -> Entry:
    return entry_of(row(key, **named), former, 0.1, with_content=True)


def ingested(path: str, name: str = "", line: int = 1, **named: Any) -> Entry:
    return entry(f"{path}::{name}" if name else path, metadata={"path": path, "name": name, "line": line}, **named)


def shape(node: Node) -> dict[str, Any]:
    return {
        **{name: shape(child) for name, child in node.children.items()},
        **({"own": [each.key for each in node.own]} if node.own else {}),
        **({"parts": [each.label for each in node.parts]} if node.parts else {}),
    }


def test_the_tree_of_a_source_tree() -> None:
    root = record_tree([
        ingested("src/pkg/a.py", "f", 9), ingested("src/pkg/a.py", "A", 1), ingested("src/pkg/deep/er/b.py", "g"),
        ingested("src/README.md"), ingested("src/pkg", content_type="package"),
    ])  # fmt: skip
    assert root.segments == ("src",)
    assert shape(root) == {
        "README.md": {"own": ["src/README.md"]},
        "pkg": {"own": ["src/pkg"], "a.py": {"parts": ["A", "f"]}, "deep/er/b.py": {"parts": ["g"]}},
    }
    assert root.levels == {Level.SURE: 5}


def test_the_tree_of_a_relation_with_flat_keys_and_one_with_slashes() -> None:
    assert shape(record_tree([entry("1"), entry("2"), entry("")])) == {"parts": ["", "1", "2"]}
    slashed = record_tree([entry("a/b"), entry("a/b/c"), entry("a/d"), entry("e")])
    assert shape(slashed) == {"a": {"parts": ["d"], "b": {"own": ["a/b"], "parts": ["c"]}}, "parts": ["e"]}


@given(st.lists(KEYS, unique=True, min_size=1, max_size=12), st.booleans())
def test_every_record_is_shown_once_and_every_link_leads_to_what_it_names(keys: list[str], as_files: bool) -> None:
    entries = [ingested(key) if as_files else entry(key) for key in keys]
    root = record_tree(entries)
    pages = {page.path: page for page in place_pages(root, targets_of(root), {}, "home")}
    shown = [each.key for page in pages.values() for each in page.own]
    shown += [part.entry.key for page in pages.values() for part in page.parts]
    assert sorted(shown) == sorted(keys)
    assert sum(root.levels.values()) == len(keys)
    assert len(pages) <= 2 * len(keys) + 1
    for key, target in targets_of(root).items():
        page = pages[target.path]
        if target.anchor and key in shown:
            assert target.anchor in {part.anchor for part in page.parts}
    for page in pages.values():
        assert len({part.anchor for part in page.parts}) == len(page.parts)
        folder = page.path.rpartition("/")[0]
        for link in (*page.crumbs, *(line.link for line in page.rows)):
            assert _joined(folder, link.address) in pages


def test_a_large_place_has_several_pages() -> None:
    root = record_tree([entry(f"k{number:04d}") for number in range(2 * PER_PAGE + 1)])
    targets = targets_of(root)
    pages = list(place_pages(root, targets, {}, "home"))
    assert [(page.path, len(page.parts)) for page in pages] == [
        ("index.html", PER_PAGE), ("index~2.html", PER_PAGE), ("index~3.html", 1),
    ]  # fmt: skip
    assert [[link.address for link in page.pager] for page in pages] == [
        ["index~2.html"], ["index.html", "index~3.html"], ["index~2.html"],
    ]  # fmt: skip
    assert targets[f"k{2 * PER_PAGE:04d}"].path == "index~3.html"


def test_a_key_of_a_million_slashes_is_one_page() -> None:
    root = record_tree([entry("/" * 1_000_000), entry("b")])
    assert len(list(place_pages(root, targets_of(root), {}, "home"))) == 1 + len(root.children)


def test_levels() -> None:
    former = {**row("k"), "summary": "It was so.", "confidence": 0.7}
    missing = {"summary": None, "confidence": None, "model": None, "prompt": None, "created_at": None}
    assert [
        entry("k", confidence=value).level for value in (0.9, 0.5, 0.2, 0.05, None)
    ] == [Level.SURE, Level.SURE, Level.FAIR, Level.UNSURE, Level.UNKNOWN]  # fmt: skip
    assert entry("k", **missing, state="pending").level is Level.NONE
    assert entry("k", **missing, state="failed", error="why").level is Level.FAILED
    stale = entry("k", former, **missing, state="pending")
    assert (stale.level, stale.summary, stale.confidence) == (Level.STALE, "It was so.", 0.7)


def _joined(folder: str, address: str) -> str:
    names = [name for name in folder.split("/") if name]
    for name in address.split("/"):
        if name == "..":
            names.pop()
        else:
            names.append(name)
    return "/".join(names)
