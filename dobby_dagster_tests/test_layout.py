"""Where tests and what they share are found."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
BESIDE_THE_PACKAGE = {"deploy", "helpers", "system", "training"}


def test_no_test_module_is_imported() -> None:
    imported = [
        f"{path.relative_to(TESTS)}: {line}"
        for path in TESTS.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(from|import) dobby_dagster_tests\S*\.test_", line)
    ]
    assert imported == [], "what several test modules need belongs in helpers"


def test_folders_mirror_the_package() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")} - {Path()}
    package = TESTS.parent / "dobby_dagster"
    assert [
        str(folder)
        for folder in folders
        if folder.parts[0] not in BESIDE_THE_PACKAGE and not (package / folder).is_dir()
    ] == []
