"""The command ``dobby`` for tests, and a relation of a user's for it to work on."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from dobby_dagster.store.database.connect import cozo_client


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Dobby = Callable[..., Answer]


def fill(rows: dict[Any, Any], relation: str = "code_data", url: str = "sqlite:///code.db") -> None:
    with cozo_client(url) as db:
        if relation not in {row[0] for row in db.run("::relations")["rows"]}:
            db.run(f":create {relation} {{id => content}}")
        db.run(
            f"?[id, content] <- $rows :put {relation} {{id => content}}", {"rows": [[k, v] for k, v in rows.items()]}
        )
