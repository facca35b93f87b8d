"""A small source tree whose records are summarised; one of them has changed since."""

from __future__ import annotations

from pathlib import Path

import pytest

from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run

URL = "sqlite:///code.db"
FILES = {
    "src/a.py": "def one():\n    return four()\n\n\nclass Two:\n    def three(self):\n        return 3\n",
    "src/inner/b.js": "function four() { return 4 }\nfunction five() { return 'FAIL' }\n",
    "src/notes.md": "# Version 1.2\n\nSome text.\n",
}


@pytest.fixture
def tree(dobby: Dobby) -> CozoStore:
    for name, text in FILES.items():
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        Path(name).write_text(text)
    assert dobby("ingest", "src", "--database", URL).code == 0
    store = CozoStore.open(DatabaseSettings(url=URL))
    store.recipes.remember(RECIPE)
    run(store, FakeEngine())
    Path("src/a.py").write_text(FILES["src/a.py"].replace("return 3", "return 33"))
    assert dobby("ingest", "src", "--database", URL).code == 0
    return store
