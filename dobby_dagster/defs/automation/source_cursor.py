"""How far the sensor of new records has come, as Dagster keeps it between ticks."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError


class Cursor(BaseModel, frozen=True):
    """All times are in seconds since the epoch; 0 is never.

    Attributes:
        database: Identity of the database that the rest is about.
        added: The last batch whose partition was added.
        asked: The last batch for which a run was asked.
        waiting_since: When records that are fewer than a batch began to wait.
        compared_at: When a reading of every row was asked for.
        told_at: When the asset ``record_batches`` was last reported as looked at.
    """

    database: str = ""
    added: str = ""
    asked: str = ""
    waiting_since: float = 0.0
    compared_at: float = 0.0
    told_at: float = 0.0

    @classmethod
    def of(cls, text: str | None, database: str, now: float) -> Cursor:
        """The cursor in ``text``; a new one where that is another database's, or can't be read.

        Times that lie in the future are forgotten: the clock was set back.
        """
        try:
            cursor = cls.model_validate_json(text or "{}")
        except ValidationError:
            cursor = cls()
        if cursor.database != database:
            return cls(database=database)
        ahead = {name: 0.0 for name in ("waiting_since", "compared_at", "told_at") if getattr(cursor, name) > now}
        return cursor.model_copy(update=ahead)
