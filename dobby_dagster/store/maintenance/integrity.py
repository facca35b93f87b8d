"""Whether all that is stored can be read: every row through CozoDB, indexes counted against their relations."""

from __future__ import annotations

from dataclasses import dataclass, field

from dobby_dagster.domain.errors import DobbyError
from dobby_dagster.domain.plurals import counted
from dobby_dagster.store.database.connection import Connection

# What a stored value of each simple type must be; a damaged one may still decode, as something else.
_TYPE_CHECKS = {
    "String": "is_string({0})",
    "Int": "is_int({0})",
    "Float": "is_num({0})",
    "Bytes": "is_bytes({0})",
    "Uuid": "is_uuid({0})",
    "Bool": "is_in({0}, [true, false])",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of reading every row.

    Attributes:
        rows: Readable rows by relation, indexes included.
        problems: What could not be read, one line each.
    """

    rows: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The counts in words, without indexes."""
        counts = [count for name, count in self.rows.items() if ":" not in name]
        relations, rows = len(counts), sum(counts)
        return f"{relations:,} relation{'s' * (relations != 1)}, {rows:,} row{'s' * (rows != 1)}"


def read_everything(connection: Connection) -> Reading:
    """Read every row of every relation and index, each value decoded and of its column's type."""
    reading = Reading()
    with connection.session():
        try:
            names = [row[0] for row in connection.run("::relations").rows]
        except DobbyError as error:
            reading.problems.append(f"the list of relations can't be read: {error.message}")
            return reading
        for name in sorted(names):
            try:
                reading.rows[name], wrong = _read(connection, name)
            except DobbyError as error:
                reading.problems.append(f"relation {name} can't be read: {error.message}")
                continue
            if wrong:
                reading.problems.append(f"relation {name} has {counted(wrong, 'row')} with a value of another type")
        if not reading.problems:
            try:
                reading.problems.extend(_index_gaps(connection, reading.rows))
            except DobbyError as error:
                reading.problems.append(f"the indexes can't be looked up: {error.message}")
    return reading


def _read(connection: Connection, name: str) -> tuple[int, int]:
    """How many rows there are, and how many of them have a value of a wrong type."""
    columns = [(row[0], str(row[3])) for row in connection.run(f"::columns {name}").rows]
    bound = ", ".join(f"{column}: c{place}" for place, (column, _) in enumerate(columns))
    checks = [check for place, (_, kind) in enumerate(columns) if (check := _type_check(kind, f"c{place}"))]
    sound = " && ".join(checks) or "true"
    [[rows, wrong]] = connection.run(f"?[count(c0), sum(bad)] := *{name}{{{bound}}}, bad = if({sound}, 0, 1)").rows
    return int(rows), int(wrong or 0)


def _type_check(kind: str, value: str) -> str:
    check = _TYPE_CHECKS.get(kind.removesuffix("?"))
    if check is None:
        return ""
    check = check.format(value)
    return f"(is_null({value}) || {check})" if kind.endswith("?") else check


def _index_gaps(connection: Connection, rows: dict[str, int]) -> list[str]:
    """A plain index has one row for each row of its relation."""
    gaps = []
    for relation in sorted({name.split(":")[0] for name in rows if ":" in name}):
        for index, kind, *_ in connection.run(f"::indices {relation}").rows:
            name = f"{relation}:{index}"
            if kind == "normal" and rows.get(name) != rows[relation]:
                gaps.append(f"index {name} has {rows.get(name, 0):,} rows, its relation {rows[relation]:,}")
    return gaps
