"""A stored relation: its columns are written once, and every put and removal is rendered from them."""

from __future__ import annotations

from dataclasses import dataclass

from dobby_dagster.store.cozoscript.script import MOMENT, unpack


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation with the types of its columns, as CozoScript writes them.

    Args:
        name: The stored relation.
        keys: Key columns; of one with a history the last is ``at: Validity``.
        values: The other columns.

    >>> metric = Relation("metric", "batch: String", "stored_at: Float")
    >>> metric.put()
    '{ ?[batch, stored_at] := r in $rows, batch = get(r, 0), stored_at = get(r, 1) :put metric {batch => stored_at} }'
    """

    name: str
    keys: str
    values: str = ""

    @property
    def types(self) -> dict[str, str]:
        """The type of each column, keys first."""
        columns = f"{self.keys}, {self.values}" if self.values else self.keys
        return dict(column.split(": ") for column in columns.split(", "))

    @property
    def columns(self) -> list[str]:
        """All columns but the validity: what a row holds that is put."""
        return [column for column, kind in self.types.items() if kind != "Validity"]

    @property
    def key(self) -> list[str]:
        """The key columns."""
        return list(self.types)[: self.keys.count(":")]

    @property
    def head(self) -> str:
        """The head of a rule that gives whole rows."""
        return f"?[{', '.join(self.types)}]"

    @property
    def stored(self) -> str:
        """An atom that binds :attr:`columns`."""
        return f"*{self.name}{{{', '.join(self.columns)}}}"

    @property
    def into(self) -> str:
        """The option that stores what a rule with :attr:`head` gives."""
        key = self.key
        values = [column for column in self.types if column not in key]
        return f":put {self.name} {{{', '.join(key)}{' => ' if values else ''}{', '.join(values)}}}"

    @property
    def remove(self) -> str:
        """The option that removes the rows whose keys a rule gives."""
        return f":rm {self.name} {{{', '.join(self.key)}}}"

    def put(self, rows: str = "rows", where: str = "") -> str:
        """A block that puts the parameter ``$rows``, rows of :attr:`columns`; ``at`` is this moment.

        Args:
            rows: The parameter's name.
            where: A condition on a row's columns.
        """
        atoms = [
            unpack(self.columns, rows),
            *([where] if where else []),
            *([MOMENT] if "at: Validity" in self.keys else []),
        ]
        return f"{{ {self.head} := {', '.join(atoms)} {self.into} }}"
