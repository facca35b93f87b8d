"""The commit of a chunk: summaries, states and statistics in one guarded transaction."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

from dobby_dagster.domain.errors import ChangedBackError, StoreError, UnstorableError
from dobby_dagster.domain.records import content_hash
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.states import PASSING_REASONS, SUPERSEDED, ProcessingState, State
from dobby_dagster.domain.states import skipped as skipped_state
from dobby_dagster.store.cozoscript.script import script, unpack
from dobby_dagster.store.cozoscript.storable import check_summary, storable_state, storable_text
from dobby_dagster.store.cozoscript.value_text import REMEMBERED, remember, unchanged
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.chunk import Chunk, Committed, Outcome
from dobby_dagster.store.ledger.chunk_rows import Counted, document_row, ended_row, held_row, summary_row
from dobby_dagster.store.ledger.chunk_script import COUNTED, ENDED, HELD, PUT_CHUNKS, STORED
from dobby_dagster.store.ledger.documents import INDEXED
from dobby_dagster.store.ledger.record_states import state_row
from dobby_dagster.store.ledger.relations import DOCUMENT, STATE, SUMMARY
from dobby_dagster.store.ledger.totals import add
from dobby_dagster.store.source.source_relation import Source


class Chunks:
    """Summaries as they are stored, a chunk at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def commit(self, source: Source, chunk: Chunk, scope: Scope) -> Committed:
        """Store summaries, states and statistics of a chunk in one transaction.

        A record whose content in the source is not the one that was summarised gets no summary: its state
        becomes skipped, superseded. One that this run has lost to another, since its host was thought dead, is left
        as it is. One whose outcome can't be stored fails, alone and by name: where the database refuses the chunk, its
        outcomes are committed one by one.
        """
        name = f"{chunk.stats.started_at:.6f}-{uuid.uuid4().hex[:8]}"
        outcomes = [_storable(outcome) for outcome in chunk.outcomes]
        try:
            found = self._commit(source, outcomes, scope, Counted(name, outcomes, chunk.stats))
        except StoreError as error:
            _reraise_unless_refused(error)
            outcomes, found = self._commit_each(source, outcomes, scope)
            kept = [o for o in outcomes if o.version.key not in found.taken_over]
            ended = Counter(State.SKIPPED if o.version.key in found.superseded else o.state.state for o in kept)
            counted = Counted(name, outcomes, chunk.stats, ended, sum(o.inferred for o in kept))
            self._commit(source, [], scope, counted)
        away = {o.version.key for o in outcomes if o.state.reason in PASSING_REASONS} - found.taken_over
        back = self._fail_changed_back(source, outcomes, away | found.superseded, scope)
        return replace(found, superseded=found.superseded - back)

    def _commit_each(
        self, source: Source, outcomes: Sequence[Outcome], scope: Scope
    ) -> tuple[list[Outcome], Committed]:
        """Commit one by one; return what each ended as, and what was not stored."""
        stored, found = [], Committed()
        for outcome in outcomes:
            ended = outcome
            try:
                found |= self._commit(source, [ended], scope)
            except StoreError as error:
                _reraise_unless_refused(error)
                ended = _failed(outcome, UnstorableError(f"its summary can't be stored: {error.message}"))
                found |= self._commit_failure(source, ended, scope)
            stored.append(ended)
        return stored, found

    def _commit_failure(self, source: Source, failed: Outcome, scope: Scope) -> Committed:
        """Commit a failure; without the comparison of its content where that can't be sent, being too long say."""
        try:
            return self._commit(source, [failed], scope)
        except StoreError as error:
            _reraise_unless_refused(error)
            return self._commit(source, [failed], scope, compared=False)

    def _fail_changed_back(self, source: Source, outcomes: Sequence[Outcome], away: Set[str], scope: Scope) -> set[str]:
        """Fail those of ``away`` whose content is again what it was, so that they are retried: a plan may have passed.

        A content that comes back later than this is found by the next plan, see ``RecordVersions.returned``.
        """
        records = source.get(sorted(away)) if away else {}
        back = [
            o
            for o in outcomes
            if o.version.key in records and content_hash(records[o.version.key].content) == o.version.content_hash
        ]
        error = ChangedBackError("its content changed for a moment while it was summarised")
        rows = [state_row(o.version, ProcessingState.failed(error, o.attempt), scope) for o in back]
        if rows:
            mine = "*dobby_state{source, key, content_hash, recipe, state: now, run: by @ 'END'}, now == 'skipped', by == run"
            block = f"{{ ?[{_VERSION}] := {unpack(STATE.columns)}, {mine} :create _skipped {{{_VERSION}}} }}"
            put = STATE.put(where=f"*_skipped{{{_VERSION}}}")
            self._connection.run(script([block, put]), {"rows": rows}, write=True)
        return {o.version.key for o in back}

    def _commit(
        self,
        source: Source,
        outcomes: Sequence[Outcome],
        scope: Scope,
        counted: Counted | None = None,
        *,
        compared: bool = True,
    ) -> Committed:
        """One transaction.

        What was made of a content, a summary or a failure, is stored only if the source still has that content, unless
        it is not ``compared``; and anything only if the record still has the state that the run saw. What a record came
        to is known inside the transaction only, so the chunk and the totals are counted there.
        """
        made = [o for o in outcomes if compared and _is_made(o)]
        skipped = [o for o in outcomes if not (compared and _is_made(o))]
        wanted, keys = source.wanted([o.version.key for o in made])
        content = ", ".join(["key", *REMEMBERED])
        blocks = [
            HELD,
            f"""{{ {wanted} content[{content}] <- $contents
            ?[key] := wanted[k, key], content[{content}], {source.atom(key="k", content="stored")}, {unchanged("stored")}
            :create _unchanged {{key}} }}""",
            SUMMARY.put("summaries", "*_held{key}, *_unchanged{key}"),
            DOCUMENT.put("documents", "*_held{key}, *_unchanged{key}"),
            INDEXED,
            STATE.put("made", "*_held{key}, *_unchanged{key}"),
            STATE.put("superseded", "*_held{key}, not *_unchanged{key}"),
            STATE.put("skipped", "*_held{key}"),
            ENDED,
            add(COUNTED),
            PUT_CHUNKS,
            STORED,
        ]
        superseded = skipped_state(SUPERSEDED)
        parameters = {
            **keys,
            "held": [held_row(o) for o in outcomes],
            "contents": [[o.version.key, *remember(o.content)] for o in made],
            "summaries": [summary_row(o.summary, scope) for o in made if o.summary],
            "documents": [document_row(o.summary, o.content) for o in made if o.summary],
            "indexed": [[o.version.source, o.version.key] for o in made if o.summary],
            "made": [state_row(o.version, o.state, scope) for o in made],
            "superseded": [state_row(o.version, superseded, scope) for o in made],
            "skipped": [state_row(o.version, o.state, scope) for o in skipped],
            "ended": [ended_row(place, o, place < len(made)) for place, o in enumerate([*made, *skipped])],
            "chunks": [counted.row(scope)] if counted else [],
            "addends": counted.addends() if counted else [],
            "batch": scope.batch,
            "recipe": scope.recipe,
            "run": scope.run,
            "chunk": counted.name if counted else "",
        }
        stored = dict(self._connection.run(script(blocks), parameters, write=True).rows)
        return Committed(
            frozenset(o.version.key for o in made if stored.get(o.version.key) == State.SKIPPED),
            frozenset(o.version.key for o in outcomes if o.version.key not in stored),
        )

    def find(self, fingerprints: list[str]) -> dict[str, dict[str, Any]]:
        """A stored summary for each of ``fingerprints`` that has one, of any record."""
        query = f"{SUMMARY.head} := fingerprint in $fingerprints, {SUMMARY.stored}"
        rows = self._connection.run(query, {"fingerprints": fingerprints}).dicts()
        return {row["fingerprint"]: row for row in rows}


_VERSION = "source, key, content_hash, recipe"


def _reraise_unless_refused(error: StoreError) -> None:
    """Raise ``error`` again if its kind says that the data is not to blame: a lock, a full disk, an unreachable server."""
    if type(error) is not StoreError:
        raise error


def _is_made(outcome: Outcome) -> bool:
    """Whether it was made of a content: a summary or a failure."""
    return outcome.summary is not None or outcome.state.state is State.FAILED


def _storable(outcome: Outcome) -> Outcome:
    """``outcome``, or the failure of its record where something in it can't be stored."""
    if outcome.summary is not None:
        made = outcome.summary
        made = replace(made, model=storable_text(made.model), prompt=storable_text(made.prompt))
        try:
            check_summary(made)
        except UnstorableError as error:
            return _failed(outcome, error)
        outcome = replace(outcome, summary=made)
    return replace(outcome, state=storable_state(outcome.state))


def _failed(outcome: Outcome, error: UnstorableError) -> Outcome:
    state = storable_state(ProcessingState.failed(error, outcome.attempt))
    return replace(outcome, state=state, summary=None)
