"""The folder of a site: nothing else is touched, and an interrupted run can be repeated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import DobbyError, SettingsError, StoreAccessError
from dobby_dagster.site.site_folder import SiteFolder
from dobby_dagster.site.site_manifest import MANIFEST


def update(path: Path, files: dict[str, str]) -> SiteFolder:
    with SiteFolder.held(path) as folder:
        folder.begin(files)
        for name, text in files.items():
            if not folder.is_current(name, text):
                folder.write(name, text, text)
        folder.finish()
    return folder


def counts(folder: SiteFolder) -> tuple[int, int, int]:
    return folder.written, folder.unchanged, folder.removed


def files_in(path: Path) -> list[str]:
    return sorted(str(each.relative_to(path)) for each in path.rglob("*") if not each.is_dir())


def written_at(path: Path) -> tuple[int, int]:
    return path.stat().st_mtime_ns, path.stat().st_ino


def test_only_what_changed_is_written_and_what_vanished_is_removed(tmp_path: Path) -> None:
    site = tmp_path / "deep" / "site"
    assert counts(update(site, {"index.html": "one", "pages/a/b.html": "b", "pages/c.html": "c"})) == (3, 0, 0)
    before = written_at(site / "pages/c.html")
    assert counts(update(site, {"index.html": "two", "pages/c.html": "c"})) == (1, 1, 1)
    assert written_at(site / "pages/c.html") == before
    assert files_in(site) == [MANIFEST, "index.html", "pages/c.html"]
    assert not (site / "pages/a").exists()


def test_a_page_that_was_damaged_is_written_again(tmp_path: Path) -> None:
    update(tmp_path / "site", {"index.html": "one"})
    (tmp_path / "site/index.html").write_text("two")
    assert counts(update(tmp_path / "site", {"index.html": "one"})) == (1, 0, 0)
    (tmp_path / "site/index.html").unlink()
    assert counts(update(tmp_path / "site", {"index.html": "one"})) == (1, 0, 0)


def test_a_folder_with_something_else_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match=r"holds 'thesis.txt' and no site.*name a new or an empty folder"):
        update(tmp_path, {"index.html": "one"})
    with pytest.raises(SettingsError, match="is not a folder"):
        update(tmp_path / "thesis.txt", {"index.html": "one"})
    assert files_in(tmp_path) == ["thesis.txt"]


def test_what_others_put_into_a_site_stays(tmp_path: Path) -> None:
    update(tmp_path, {"index.html": "one", "pages/a.html": "a"})
    (tmp_path / "pages/notes.txt").write_text("mine")
    (tmp_path / "CNAME").write_text("docs.example.org")
    (tmp_path / "pages/a.html").write_text("mine too")
    update(tmp_path, {"index.html": "two"})
    assert files_in(tmp_path) == ["CNAME", MANIFEST, "index.html", "pages/a.html", "pages/notes.txt"]
    with pytest.raises(SettingsError, match=r"pages/a.html' is a file that Dobby did not write"):
        update(tmp_path, {"index.html": "three", "pages/a.html": "a"})
    assert (tmp_path / "index.html").read_text() == "two", "nothing is written before all is known to be possible"


def test_an_interrupted_run_can_be_repeated(tmp_path: Path) -> None:
    update(tmp_path, {"index.html": "one", "pages/old.html": "old"})
    folder = SiteFolder.opened(tmp_path)
    folder.begin(["index.html", "pages/new.html", "pages/newer.html"])
    folder.write("pages/new.html", "new", "new")
    assert (tmp_path / "index.html").read_text() == "one", "the site is as usable as before"
    assert counts(update(tmp_path, {"index.html": "two", "pages/newer.html": "newer"})) == (2, 0, 2)
    assert files_in(tmp_path) == [MANIFEST, "index.html", "pages/newer.html"]


def test_links_are_not_followed_out_of_the_folder(tmp_path: Path) -> None:
    site, outside = tmp_path / "site", tmp_path / "outside"
    outside.mkdir()
    (outside / "a.html").write_text("theirs")
    update(site, {"index.html": "one", "pages/a.html": "a"})
    (site / "pages/a.html").unlink()
    (site / "pages").rmdir()
    (site / "pages").symlink_to(outside)
    for files in ({"index.html": "two", "pages/a.html": "b"}, {"index.html": "two"}):
        with pytest.raises(StoreAccessError, match="pages' is a symbolic link"):
            update(site, files)
    (site / "pages").unlink()
    (site / "index.html").unlink()
    (site / "index.html").symlink_to(outside / "a.html")
    with pytest.raises(StoreAccessError, match="is a symbolic link"):
        update(site, {"index.html": "two"})
    assert (outside / "a.html").read_text() == "theirs"


@pytest.mark.parametrize(
    "name",
    ["../outside.html", "/etc/passwd", "pages/../../outside.html", "pages/.hidden.html", "a.txt", "A.html", ".."],
)
def test_a_manifest_that_names_other_files_is_not_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.html").write_text("theirs")
    site = tmp_path / "site"
    site.mkdir()
    (site / MANIFEST).write_text(json.dumps({"dobby_site": 1, "files": {name: ["", ""]}}))
    with pytest.raises(SettingsError, match="can't be read"):
        update(site, {"index.html": "one"})
    assert (tmp_path / "outside.html").read_text() == "theirs"


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 100_000, '{"dobby_site": 2}', '{"dobby_site": 1, "files": {"index.html": 1}}']
)
def test_a_damaged_manifest_is_one_clear_line(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DobbyError, match=r"dobby-site.json' can't be read: .*name a new or an empty folder"):
        update(tmp_path, {"index.html": "one"})


def test_of_two_processes_the_second_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with SiteFolder.held(site):
        with pytest.raises(SettingsError, match=f"another dobby site writes to '{site}'.*name another folder"):
            update(site, {"index.html": "one"})
        assert counts(update(tmp_path / "other", {"index.html": "one"})) == (1, 0, 0)
    assert not site.exists()  # nothing was written
    assert counts(update(site, {"index.html": "one"})) == (1, 0, 0)
    assert files_in(site) == [MANIFEST, "index.html"]


def test_what_a_killed_process_leaves_holds_up_nobody(tmp_path: Path) -> None:
    program = "import os, sys, pathlib; from dobby_dagster.site.site_folder import SiteFolder\n"
    program += "with SiteFolder.held(pathlib.Path(sys.argv[1])): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == 9
    assert files_in(tmp_path) == [".dobby-site.lock"]
    assert counts(update(tmp_path, {"index.html": "one"})) == (1, 0, 0)
    assert files_in(tmp_path) == [MANIFEST, "index.html"]
