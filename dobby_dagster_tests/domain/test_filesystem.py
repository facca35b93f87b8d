"""Files that are written whole, for their owner, and never in a device's place."""

import os
import stat
import time
from pathlib import Path

import pytest

from dobby_dagster.domain.atomic_file import replacing, sweep_drafts
from dobby_dagster.domain.errors import StoreAccessError
from dobby_dagster.domain.filesystem import exposure, kind_of_path, private_folder
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.records import fill


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".txt")
    with replacing(path) as draft:
        draft.write_text("first")
        assert not path.exists()
        assert mode(draft) == 0o600, "nobody else reads a draft"
    path.chmod(0o640)
    with replacing(path) as draft:
        draft.write_text("second")
        assert path.read_text() == "first"
    assert (path.read_text(), mode(path)) == ("second", 0o640)
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("kept")
    with pytest.raises(RuntimeError), replacing(path) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert path.read_text() == "kept"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a named pipe"),
        (os.mkdir, "a folder"),
        (lambda p: os.symlink("/nowhere", p), "a symbolic link"),
        (lambda p: os.symlink(Path(p).parent / "there", p), "a symbolic link"),
    ],
)
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path: Path, make: object, kind: str) -> None:
    (tmp_path / "there").write_text("untouched")
    path = tmp_path / "x"
    make(path)  # type: ignore[operator]
    before = os.lstat(path)
    with pytest.raises(StoreAccessError, match=f"is {kind}, and only a regular file"), replacing(path):
        pytest.fail("nothing may be written")
    assert os.lstat(path) == before
    assert (tmp_path / "there").read_text() == "untouched"
    assert {p.name for p in tmp_path.iterdir()} == {"x", "there"}


def test_a_device_is_refused() -> None:
    with pytest.raises(StoreAccessError, match="'/dev/null' is a device"), replacing(Path("/dev/null")):
        pytest.fail("nothing may be written")
    assert kind_of_path(Path("/dev/null")) == "a device"


def test_an_existing_file_is_kept_where_it_may_not_be_replaced_even_if_it_comes_late(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with pytest.raises(StoreAccessError, match="exists already"), replacing(path, overwrite=False) as draft:
        draft.write_text("mine")
        path.write_text("theirs")
    with pytest.raises(StoreAccessError, match="exists already"), replacing(path, overwrite=False):
        pytest.fail("it was there before")
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["no/such/folder/f", "f" * 300, "a\0b", "file/below"])
def test_a_path_that_can_not_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreAccessError, match="can't be written"), replacing(tmp_path / name):
        pytest.fail("nothing may be written")


def test_private_files_and_folders_are_closed_and_open_ones_are_named(tmp_path: Path) -> None:
    place = Path("/tmp") / f"dobby-exposure-{os.getpid()}"  # the folders above tmp_path are closed
    try:
        private_folder(place)
        assert mode(place) == 0o700
        assert exposure(place) == ""
        with replacing(place / "f", mode=0o600) as draft:
            draft.write_text("x")
        assert mode(place / "f") == 0o600
        (place / "f").chmod(0o644)
        assert exposure(place / "f") == "", "the folder above it is closed"
        place.chmod(0o755)
        assert f"{place} can be read by every user of this machine (mode 0755); chmod 700" in exposure(place)
        assert "chmod 600" in exposure(place / "f")
        (place / "f").chmod(0o666)
        assert "can be written by every user" in exposure(place / "f")
        assert exposure(place / "nothing") == ""
    finally:
        (place / "f").unlink(missing_ok=True)
        place.rmdir()


def test_only_old_drafts_are_swept(tmp_path: Path) -> None:
    for name, age in ((".dobby-a.part", 90_000), (".dobby-b.part", 10), ("mine.part", 90_000)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    sweep_drafts(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {".dobby-b.part", "mine.part"}


def test_an_export_replaces_no_pipe_and_no_link(dobby: Dobby, tmp_path: Path) -> None:
    fill({1: "def f(): pass"})
    os.mkfifo("pipe.md")
    Path("there.md").write_text("untouched")
    Path("link.md").symlink_to("there.md")
    for name in ("pipe.md", "link.md"):
        answer = dobby("export", "-o", name, "-d", "sqlite:///code.db", "--relation", "code_data")
        assert answer.code == 1
        assert f"'{name}' is a" in answer.err
    assert kind_of_path(Path("pipe.md")) == "a named pipe"
    assert kind_of_path(Path("link.md")) == "a symbolic link"
    assert Path("there.md").read_text() == "untouched"
