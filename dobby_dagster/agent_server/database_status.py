"""The tool ``status``: what there is, and how far the summaries are."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import Field

from dobby_dagster.agent_server.answer import NOTE_BYTES, Answer, cut
from dobby_dagster.agent_server.arguments import Arguments
from dobby_dagster.agent_server.reading import Reading
from dobby_dagster.domain.addresses import mask_credentials


class StatusArguments(Arguments):
    """None."""


class DatabaseStatus(Answer):
    """The database, and its records by state."""

    database: str = Field(description="Its URL.")
    relation: str = Field(description="The relation that records come from.")
    model: str | None = Field(description="The model that was used last; null before the first run.")
    prompt: str | None = Field(description="The prompt that was used last; null before the first run.")
    records: dict[str, int] = Field(
        description="Counts: rows of the source, unplanned (not yet looked at), records planned, those of each state, "
        "deleted, summaries (former ones too)."
    )
    last_change: str | None = Field(description="When a changed record was found last; null if none ever was.")

    def lines(self) -> list[str]:
        """See :class:`~dobby_dagster.agent_server.answer.Answer`."""
        counts = ", ".join(f"{name} {count:,}" for name, count in self.records.items())
        return [
            f"{self.relation} of {self.database}: {counts}",
            f"model {self.model or 'none yet'}, prompt {self.prompt or 'none yet'}",
            f"last change {self.last_change or 'none'}",
        ]


def status(use: Reading, _: StatusArguments) -> DatabaseStatus:
    """The counts of all records of the source under the model and prompt that were used last."""
    used = next((row for row in use.store.recipes.all() if row["recipe"] == use.recipe), None)
    changed = use.store.versions.last_change(use.relation)
    return DatabaseStatus(
        database=cut(mask_credentials(use.settings.database.url), NOTE_BYTES),
        relation=use.relation,
        model=None if used is None else cut(used["model"], NOTE_BYTES),
        prompt=None if used is None else cut(used["prompt"], NOTE_BYTES),
        records=use.store.reports.overview(use.source, use.recipe),
        last_change=None if changed is None else datetime.fromtimestamp(changed, UTC).isoformat(timespec="seconds"),
        notes=use.behind() if used is not None else ("nothing has been summarised yet: run dobby summarize",),
    )
