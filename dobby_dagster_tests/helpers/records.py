"""Records for tests, in Dobby's own relation and in a user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dobby_dagster.domain.records import Content
from dobby_dagster.domain.settings import DatabaseSettings
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.database.connect import cozo_client


def put(store: CozoStore, rows: dict[str, Content]) -> None:
    """Write rows of the relation ``record``."""
    store.connection.run(
        "?[key, content] <- $rows :put record {key => content}", {"rows": [[k, v] for k, v in rows.items()]}, write=True
    )


def prepared(tmp_path: Path, records: int) -> CozoStore:
    """A store in ``records.db`` with ``records`` records, ``k0000`` and on, of code with two arguments."""
    store = CozoStore.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/records.db"))
    put(store, {f"k{i:04d}": f"def f{i}(a, b):\n    c = a * {i}\n    return b + c\n" for i in range(records)})
    return store


def fill(rows: dict[Any, Any], relation: str = "code_data", url: str = "sqlite:///code.db") -> None:
    """Write rows of a user's relation, which is created where there is none."""
    with cozo_client(url) as db:
        if relation not in {row[0] for row in db.run("::relations")["rows"]}:
            db.run(f":create {relation} {{id => content}}")
        db.run(
            f"?[id, content] <- $rows :put {relation} {{id => content}}", {"rows": [[k, v] for k, v in rows.items()]}
        )
