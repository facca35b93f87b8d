"""The cursor of the sensor ``new_records``, which Dagster stores between ticks as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError


class Cursor(BaseModel, frozen=True):
    """How far the sensor has come; times are in seconds since the epoch, and 0 is never.

    Attributes:
        database: Identity of the database to which the rest applies.
        added: The last batch whose partition was added.
        asked: The last batch for which a run was requested.
        waiting_since: Since when records that don't fill a batch are gathered.
        compared_at: When a full scan was last requested.
        told_at: When a poll was last reported as a materialization of ``record_batches``.
        observed_at: When the source was last reported as an observation of ``source_records``.
        outline: The last file or package that was looked at, whether its content is to be derived again.
    """

    database: str = ""
    added: str = ""
    asked: str = ""
    waiting_since: float = 0.0
    compared_at: float = 0.0
    told_at: float = 0.0
    observed_at: float = 0.0
    outline: str = ""

    @classmethod
    def of(cls, text: str | None, database: str, now: float) -> Cursor:
        """Parse ``text``; a new cursor where it belongs to another database, or is invalid.

        Times later than ``now`` are reset: the clock was set back.
        """
        try:
            cursor = cls.model_validate_json(text or "{}")
        except ValidationError:
            cursor = cls()
        if cursor.database != database:
            return cls(database=database)
        times = ("waiting_since", "compared_at", "told_at", "observed_at")
        return cursor.model_copy(update={name: 0.0 for name in times if getattr(cursor, name) > now})
