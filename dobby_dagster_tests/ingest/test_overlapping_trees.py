"""A path whose files are a source of records already, as those of another tree."""

import shutil
from pathlib import Path

import pytest

from dobby_dagster.domain.errors import SourceError
from dobby_dagster.ingest.ingestion import ingest
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.file_tree import tree

FILES = {
    "src/pkg/a.py": "def one(): return 1\n",
    "src/pkg/flow/b.py": "def two(): return 2\n",
    "src/other.py": "def three(): return 3\n",
}


def keys(store: CozoStore) -> set[str]:
    return {key for origin in store.records.origins() for key in store.records.keys_of(origin)}


@pytest.mark.parametrize("part", ["a.py", "flow", "flow/b.py", "flow/new.py"])
def test_a_part_of_an_ingested_tree_is_refused(sqlite_store: CozoStore, tmp_path: Path, part: str) -> None:
    pkg = tree(tmp_path, FILES) / "src/pkg"
    ingest(sqlite_store, [pkg])
    before = keys(sqlite_store)
    (pkg / "flow/new.py").write_text("def new(): return 0\n")
    with pytest.raises(SourceError) as raised:
        ingest(sqlite_store, [pkg / part])
    assert raised.value.message == f"'{pkg / part}' is inside the tree '{pkg}', which is ingested already"
    assert raised.value.hint == (
        f"ingest that tree again: dobby ingest {pkg}; --name NAME keeps the records of this one apart"
    )
    assert keys(sqlite_store) == before
    assert ingest(sqlite_store, [pkg / part], name="apart").written == 1 + (part == "flow")


def test_a_tree_that_contains_an_ingested_one_is_refused(sqlite_store: CozoStore, tmp_path: Path) -> None:
    src = tree(tmp_path, FILES) / "src"
    ingest(sqlite_store, [src / "pkg/flow"])
    with pytest.raises(SourceError) as raised:
        ingest(sqlite_store, [src])
    assert raised.value.message == f"'{src}' contains the tree '{src}/pkg/flow', which is ingested already"
    assert raised.value.hint == (
        f"ingest that tree again: dobby ingest {src}/pkg/flow; --exclude 'pkg/flow/*' leaves it out here; "
        "--name NAME keeps the records of this one apart"
    )
    assert keys(sqlite_store) == {"flow/b.py::two"}
    assert ingest(sqlite_store, [src], exclude=["pkg/flow/*"]).written == 2
    assert ingest(sqlite_store, [src], exclude=["pkg/flow/*"]).unchanged == 2


def test_a_file_that_was_ingested_alone_can_be_left_out(sqlite_store: CozoStore, tmp_path: Path) -> None:
    src = tree(tmp_path, {"src/[a].py": "def one(): return 1\n", "src/a.py": "def two(): return 2\n"}) / "src"
    ingest(sqlite_store, [src / "[a].py"])
    with pytest.raises(SourceError, match=r"contains the file '.*/\[a\]\.py'.*--exclude '\[\[\]a\]\.py' leaves it out"):
        ingest(sqlite_store, [src])
    assert ingest(sqlite_store, [src], exclude=["[[]a].py"]).written == 1


def test_of_two_paths_that_share_files_none_is_ingested(sqlite_store: CozoStore, tmp_path: Path) -> None:
    src = tree(tmp_path, FILES) / "src"
    for paths in ([src, src / "pkg"], [src / "pkg", src]):
        with pytest.raises(SourceError, match=r"'.*/pkg', which is also given \(give one|'.*/src', which is also"):
            ingest(sqlite_store, paths)
    assert keys(sqlite_store) == set()
    assert ingest(sqlite_store, [src, src]).unchanged == 3


def test_a_part_with_records_of_its_own_is_ingested_again(sqlite_store: CozoStore, tmp_path: Path) -> None:
    src = tree(tmp_path, FILES) / "src"
    ingest(sqlite_store, [src])
    ingest(sqlite_store, [src / "pkg"], name="pkg")
    assert ingest(sqlite_store, [src / "pkg"]).unchanged == 2
    assert ingest(sqlite_store, [src]).unchanged == 3


def test_a_tree_and_its_part_may_move_together(sqlite_store: CozoStore, tmp_path: Path) -> None:
    src = tree(tmp_path, FILES) / "src"
    ingest(sqlite_store, [src])
    ingest(sqlite_store, [src / "pkg"], name="pkg")
    shutil.move(src, tree(tmp_path / "new", {"x": ""}) / "src")
    new = tmp_path / "new/src"
    done = ingest(sqlite_store, [new, new / "pkg"])
    assert done.moved == {str(new): [str(src)], str(new / "pkg"): [str(src / "pkg")]}


def test_what_the_other_tree_leaves_out_is_no_part_of_it(sqlite_store: CozoStore, tmp_path: Path) -> None:
    root = tree(tmp_path, {".gitignore": "made\n", "a.py": "x = 1\n", "made/b.py": "def two(): return 2\n"})
    ingest(sqlite_store, [root])
    assert ingest(sqlite_store, [root / "made"]).written == 1
    ingest(sqlite_store, [root])
    shutil.rmtree(root / "made")
    ingest(sqlite_store, [root])


def test_what_was_excluded_of_the_other_tree_is_no_part_of_it(sqlite_store: CozoStore, tmp_path: Path) -> None:
    src = tree(tmp_path, FILES) / "src"
    ingest(sqlite_store, [src], exclude=["pkg/*"])
    assert ingest(sqlite_store, [src / "pkg"]).written == 2
    assert ingest(sqlite_store, [src], exclude=["pkg/*"]).unchanged == 1
    with pytest.raises(SourceError, match="contains the tree"):  # now without the pattern
        ingest(sqlite_store, [src])
    assert len(keys(sqlite_store)) == 3


def test_a_neighbour_whose_name_begins_alike_is_another_tree(sqlite_store: CozoStore, tmp_path: Path) -> None:
    root = tree(tmp_path, {"src/a.py": "def one(): return 1\n", "src2/a.py": "def two(): return 2\n"})
    ingest(sqlite_store, [root / "src"])
    assert ingest(sqlite_store, [root / "src2"]).written == 1


def test_a_link_to_an_ingested_tree_leads_to_its_parts(sqlite_store: CozoStore, tmp_path: Path) -> None:
    src = tree(tmp_path, FILES) / "src"
    ingest(sqlite_store, [src])
    (tmp_path / "link").symlink_to(src)
    with pytest.raises(SourceError, match="is inside the tree"):
        ingest(sqlite_store, [tmp_path / "link" / "pkg"])
