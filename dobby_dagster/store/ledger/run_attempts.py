"""Which batches were begun and are not known to be settled, and which runs came to them in vain."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dobby_dagster.store.cozoscript.script import put
from dobby_dagster.store.database.connection import Connection

# In a run's place: one was asked for.
ASKED = "asked"


class Attempts:
    """What the retry schedule looks at, so that it need not look at everything."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note(self, batches: Sequence[str], recipe: str, run: str) -> None:
        """Remember that ``run`` begins with ``batches`` now, or, by the name of ASKED, that one was asked for."""
        rows = [[batch, recipe, run, time.time()] for batch in batches]
        if rows:
            block = put("dobby_attempt", ["batch", "recipe", "run"], ["begun_at"])
            self._connection.run(block, {"rows": rows}, write=True)

    def batches(self, relation: str, recipe: str) -> list[str]:
        """Batches of ``relation`` that a run was asked for or began with, and that are not known to be settled since."""
        query = """?[batch] := *dobby_attempt{batch, recipe, run}, recipe == $recipe, *dobby_batch{batch, source},
            source == $source"""
        return sorted(row[0] for row in self._connection.run(query, {"recipe": recipe, "source": relation}).rows)

    def forget(self, batches: Sequence[str], recipe: str) -> None:
        """Forget the attempts on batches that are settled."""
        if batches:
            query = "?[batch, recipe, run] := batch in $batches, recipe = $recipe, *dobby_attempt{batch, recipe, run}"
            params = {"batches": list(batches), "recipe": recipe}
            self._connection.run(f"{query} :rm dobby_attempt {{batch, recipe, run}}", params, write=True)

    def vain(self, batch: str, recipe: str) -> list[float]:
        """When the vain runs of ``batch`` began since its last commit, in order; seconds since the epoch.

        A run that committed anything, of whatever batch, was not in vain: what ended it was no fault of this one's.
        Where a run was asked for and none has begun since the last commit, the asking counts as one.
        """
        params = {"batch": batch, "recipe": recipe}
        rows = self._connection.run(
            """of_use[run] := *dobby_attempt{batch: $batch, recipe: $recipe, run}, *dobby_chunk:by_run{run, chunk}
            ?[begun_at, run] := *dobby_attempt{batch: $batch, recipe: $recipe, run, begun_at}, not of_use[run]
            :order begun_at""",
            params,
        ).rows
        commits = self._connection.run(
            "?[max(finished_at)] := *dobby_chunk{batch: $batch, recipe: $recipe, finished_at}", params
        ).rows
        last = max((row[0] for row in commits if row[0] is not None), default=0.0)
        vain = [(begun_at, run) for begun_at, run in rows if begun_at > last]
        begun = [begun_at for begun_at, run in vain if run != ASKED]
        return begun or [begun_at for begun_at, _ in vain]
