"""Source trees into records, and again after changes."""

import os
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.ingest.deletion import Deletion
from dobby_dagster.ingest.ingestion import ingest
from dobby_dagster.ingest.source_files import files_of, text_of, walk
from dobby_dagster.ingest.text_decoding import decoded
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.file_tree import tree
from dobby_dagster_tests.helpers.sources import GO, MARKDOWN, PYTHON


def test_ingesting_again_touches_only_what_changed(sqlite_store: CozoStore, tmp_path: Path) -> None:
    root = tree(tmp_path / "src", {"a.py": PYTHON, "sub/b.go": GO, "c.md": MARKDOWN})
    first = ingest(sqlite_store, [root])
    assert (first.files, first.written, first.deleted) == (3, 12, 0)
    source = sqlite_store.source(SourceSettings())
    assert plan(sqlite_store, source, 100).new == 12
    again = ingest(sqlite_store, [root])
    assert (again.written, again.unchanged) == (0, 12)
    assert plan(sqlite_store, source, 100).read == 0
    (root / "a.py").write_text(PYTHON.replace("return x", "return x + 1").replace("class A", "class B"))
    (root / "c.md").unlink()
    third = ingest(sqlite_store, [root])
    assert (third.written, third.deleted) == (5, 8)
    changes = plan(sqlite_store, source, 100)
    assert (changes.new, changes.changed, changes.deleted) == (4, 1, 8)
    assert sqlite_store.reports.status("record", None)["deleted"] == 8
    record = source.get(["src/a.py::f"])["src/a.py::f"]
    assert (record.language, record.content_type, record.metadata["line"]) == ("python", "function", 2)


def test_a_sample_is_fixed_and_a_larger_one_holds_a_smaller(sqlite_store: CozoStore, tmp_path: Path) -> None:
    root = tree(tmp_path / "src", {f"m{i}.py": PYTHON for i in range(20)})
    keys = []
    for limit in (10, 10, 30):
        ingest(sqlite_store, [root], limit=limit)
        keys.append(sqlite_store.records.keys_of(str(root)).keys())
    assert keys[0] == keys[1] < keys[2]
    assert [len(found) for found in keys] == [10, 10, 30]


def test_two_roots_of_one_name_do_not_overwrite_each_other(sqlite_store: CozoStore, tmp_path: Path) -> None:
    one, two = tree(tmp_path / "1/src", {"a.py": PYTHON}), tree(tmp_path / "2/src", {"a.py": PYTHON})
    ingest(sqlite_store, [one])
    with pytest.raises(SourceError, match="is taken by a record of .*give this one another --name"):
        ingest(sqlite_store, [two])
    assert ingest(sqlite_store, [two], name="other").written == 5
    assert len(sqlite_store.records.keys_of(str(one))) == 5


def test_which_files_are_read(tmp_path: Path) -> None:
    root = tree(tmp_path / "src", {"a.py": "", "b.bin": "", ".hidden/c.py": "", "node_modules/d.js": "", "venv/pyvenv.cfg": "", "venv/e.py": "", "t/f.md": ""})  # fmt: skip
    (root / "link.py").symlink_to(root / "a.py")
    assert [path.relative_to(root).as_posix() for path in files_of(root)] == ["a.py", "t/f.md"]
    assert [path.name for path in files_of(root, ["t/*"])] == ["a.py"]
    assert list(files_of(root / "a.py")) == [root / "a.py"]
    with pytest.raises(SourceError, match="there is no file or folder"):
        list(files_of(root / "nope"))


def test_files_that_are_no_text_are_left_out_and_named(sqlite_store: CozoStore, tmp_path: Path) -> None:
    root = tree(tmp_path / "src", {"a.py": PYTHON})
    (root / "b.py").write_bytes(b"x = '\0'")
    (root / "c.py").write_bytes("# caf\xe9\ndef g(): pass".encode("latin-1"))
    (root / "d.txt").write_text("x" * 2_000_001)
    done = ingest(sqlite_store, [root])
    assert {Path(path).name: reason for path, reason in done.left_out.items()} == {
        "b.py": "binary",
        "d.txt": "larger than 2,000,000 bytes",
    }
    assert text_of(root / "c.py") == "# café\ndef g(): pass"
    assert done.written == 6


def test_everything_that_is_left_out_is_named_with_the_reason(tmp_path: Path) -> None:
    files = ["a.py", "b.yaml", "c", ".hidden/c.py", "node_modules/d.js", "venv/pyvenv.cfg", "cache/CACHEDIR.TAG", "t/.e.py", "skip/x.py"]  # fmt: skip
    root = tree(tmp_path / "src", dict.fromkeys(files, ""))
    os.mkfifo(root / "pipe.py")
    (root / "link.py").symlink_to("a.py")
    found = {found.path.relative_to(root).as_posix(): found.reason for found in walk(root, ["skip/*"])}
    assert found == {
        "a.py": "", "b.yaml": "unknown file type: .yaml", "c": "unknown file type: no extension", ".hidden": "hidden",
        "node_modules": "npm packages", "venv": "a virtual environment", "cache": "a cache", "t/.e.py": "hidden",
        "skip/x.py": "excluded", "pipe.py": "not a regular file", "link.py": "a symbolic link",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "beside", "read"),
    [
        ("pkg/build/__init__.py", "pkg/core.py", True),
        ("pkg/build/__init__.py", "pkg/setup.py", True),
        ("com/acme/target/Target.java", "com/acme/A.java", True),
        ("dist/x.py", "a.py", True),
        ("target/x.rs", "Cargo.toml", False),
        ("target/x.java", "pom.xml", False),
        ("build/x.c", "CMakeLists.txt", False),
        ("dist/x.js", "package.json", False),
    ],
)
def test_a_folder_is_built_where_the_tools_file_lies_beside_it(
    file: str, beside: str, read: bool, tmp_path: Path
) -> None:
    root = tree(tmp_path / "src", {file: "", beside: ""})
    assert (root / file in files_of(root)) == read


ENCODED = {
    "utf-8 with a mark": ("a.py", "\ufeffdef f(): return 1", "utf-8"),
    "utf-16": ("a.cpp", "// Größe 円\nint f() { return 1; }", "utf-16"),
    "utf-16 without a mark": ("a.txt", "Plain words of Windows, Größe.", "utf-16-le"),
    "utf-16 big endian": ("a.txt", "\ufeffPlain words", "utf-16-be"),
    "utf-32": ("a.txt", "Plain words", "utf-32"),
    "koi8 by PEP 263": ("a.py", "# -*- coding: koi8-r -*-\nx = 'Привет'", "koi8-r"),
    "cp1252 by PEP 263 in the second line": ("a.py", "#!/usr/bin/python\n# coding=cp1252\nx = '5 € – “now”'", "cp1252"),
    "euc-jp by vim": ("a.rs", "// vim: set fileencoding=euc-jp :\n// 円の面積\nfn f() {}", "euc-jp"),
    "iso-2022-jp by Emacs": ("a.c", "/* -*- coding: iso-2022-jp -*- */\n/* 円の面積 */", "iso2022_jp"),
    "shift-jis": ("a.c", "/* 円の面積を返す関数です */\nint area(int r) { return 3*r*r; }", "shift_jis"),
    "latin-1": ("a.c", "/* Gibt die Größe des Gebäudes zurück */\nint f;", "latin-1"),
    "one letter of latin-1": ("a.c", "/* caf\xe9 */", "latin-1"),
    "cp1252": ("a.md", "5 € – “now”", "cp1252"),
    "cp1251": ("a.go", "// Возвращает сумму двух чисел\nfunc F() {}", "cp1251"),
    "big-5": ("a.txt", "計算兩個數字的總和，然後傳回結果給呼叫的人。", "big5"),
    "an encoding that is none": ("a.py", "# coding: punycode\nx = 'é'", "utf-8"),
    "a wrong declaration": ("a.py", "# coding: ascii\nx = 'é'", "utf-8"),
    "an unknown declaration": ("a.py", "# coding: klingon\nx = 'é'", "utf-8"),
}


@pytest.mark.parametrize("name", ENCODED)
def test_a_text_is_read_in_its_encoding(name: str, tmp_path: Path) -> None:
    file, text, encoding = ENCODED[name]
    (tmp_path / file).write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert text_of(tmp_path / file) == text.removeprefix("\ufeff")


def test_one_broken_letter_does_not_make_utf8_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("größe ".encode() * 20 + b"\xff")
    assert text_of(tmp_path / "a.txt") == "größe " * 20 + "\ufffd"


@given(data=st.binary(max_size=300))
def test_any_bytes_are_text_or_left_out(data: bytes) -> None:
    for file in ("a.py", "a.md"):
        text = decoded(PurePath(file), data)
        assert text is None or (text.encode() is not None and "\r" not in text and "\0" not in text)


def test_file_names_that_are_no_utf8_have_keys(sqlite_store: CozoStore, tmp_path: Path) -> None:
    root = tree(tmp_path / "src", {"good.py": "def good(): pass\n", "caf\\xe9.py": "def other(): pass\n"})
    for name in (b"caf\xe9.py", b"new\nline\xff.py"):
        (root / os.fsdecode(name)).write_text("def coffee(): pass\n")
    (root / os.fsdecode(b"no\xff.bin")).write_text("")
    done = ingest(sqlite_store, [root])
    assert sqlite_store.records.keys_of(str(root)).keys() == {
        "src/good.py::good", "src/caf\\xe9.py::coffee", "src/caf\\xe9.py::other", "src/new\nline\\xff.py::coffee",
    }  # fmt: skip
    assert done.left_out == {f"{root}/no\\xff.bin": "unknown file type: .bin"}
    assert ingest(sqlite_store, [root]).unchanged == 4


def test_another_name_deletes_nothing_without_consent(sqlite_store: CozoStore, tmp_path: Path) -> None:
    root = tree(tmp_path / "src", {"a.py": PYTHON})
    ingest(sqlite_store, [root])
    asked: list[object] = []

    def ask(deletion: object) -> bool:
        asked.append(deletion)
        return False

    with pytest.raises(SourceError, match="5 of 5 records of .* would be deleted: .* under another name"):
        ingest(sqlite_store, [root], name="other", permits=ask)
    assert [(each.count, each.stored) for each in asked if isinstance(each, Deletion)] == [(5, 5)]
    assert {key.split("/")[0] for key in sqlite_store.records.keys_of(str(root))} == {"src"}
    done = ingest(sqlite_store, [root], name="other")
    assert (done.written, done.deleted) == (5, 5)


def test_most_of_many_records_are_not_deleted_without_consent(sqlite_store: CozoStore, tmp_path: Path) -> None:
    root = tree(tmp_path / "src", {f"m{i}.py": PYTHON for i in range(20)})
    ingest(sqlite_store, [root])
    for i in range(5):
        (root / f"m{i}.py").unlink()
    assert ingest(sqlite_store, [root], permits=lambda deletion: False).deleted == 25
    with pytest.raises(SourceError, match="75 of 75 records of .* would be deleted"):
        ingest(sqlite_store, [root], exclude=["*"], permits=lambda deletion: False)
    assert len(sqlite_store.records.keys_of(str(root))) == 75


def test_what_can_not_be_read_this_time_is_not_forgotten(
    sqlite_store: CozoStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path / "src", {"a.py": PYTHON, "sub/b.py": PYTHON, "c.py": PYTHON})
    ingest(sqlite_store, [root])
    scan, start = os.scandir, os.open

    def failing_scan(path: Path | int) -> object:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    def failing_open(path: Path, flags: int, *mode: int) -> int:
        if Path(path).name == "a.py":
            raise OSError(5, "Input/output error")
        return start(path, flags, *mode)

    monkeypatch.setattr(os, "scandir", failing_scan)
    monkeypatch.setattr(os, "open", failing_open)
    done = ingest(sqlite_store, [root])
    monkeypatch.undo()
    assert done.left_out == {f"{root}/sub": "Permission denied", f"{root}/a.py": "Input/output error"}
    assert (done.deleted, len(sqlite_store.records.keys_of(str(root)))) == (0, 15)


def test_a_root_that_can_not_be_read_is_an_error_in_words(
    sqlite_store: CozoStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    folder = tree(tmp_path / "closed", {"a.py": ""})
    cases = {
        "a" * 300: "can't be read: File name too long", str(tmp_path / "loop"): "can't be read", "nul\0": "can't be read",
        str(tmp_path / "pipe"): "is neither a regular file nor a folder", "/dev/null": "is neither a regular file nor a folder",
        "no": "there is no file or folder 'no'", str(folder): "can't be read: Permission denied",
    }  # fmt: skip
    scan = os.scandir

    def failing_scan(path: Path | int) -> object:
        if str(path) == str(folder):  # the end of a test scans open folders, by number
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", failing_scan)
    for root, message in cases.items():
        with pytest.raises(SourceError, match=message):
            ingest(sqlite_store, [Path(root)])
