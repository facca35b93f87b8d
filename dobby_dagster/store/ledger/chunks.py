"""The commit of a chunk: summaries, states and statistics in one guarded transaction."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from dobby_dagster.domain.errors import ChangedBackError, StoreError, UnstorableError
from dobby_dagster.domain.records import Content, RecordVersion, content_hash
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.search_words import document_words
from dobby_dagster.domain.states import PASSING_REASONS, SUPERSEDED, ProcessingState, State
from dobby_dagster.domain.states import skipped as skipped_state
from dobby_dagster.domain.summaries import Summary
from dobby_dagster.store.cozoscript.script import script, unpack
from dobby_dagster.store.cozoscript.storable import check_summary, storable_state, storable_text
from dobby_dagster.store.cozoscript.value_text import REMEMBERED, remember, unchanged
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.chunk_script import COUNTED, ENDED, HELD, PUT_CHUNKS, STORED
from dobby_dagster.store.ledger.documents import INDEXED
from dobby_dagster.store.ledger.record_states import Seen, state_row
from dobby_dagster.store.ledger.relations import DOCUMENT, STATE, SUMMARY
from dobby_dagster.store.ledger.totals import Addend, add, histogram
from dobby_dagster.store.source.source_relation import Source


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one record of a chunk ended: with a summary, or with the state that says why not.

    Attributes:
        version: The record version.
        content: What was summarised; the commit compares it with what the source has by then.
        state: The state that the record comes to.
        summary: Its summary, if it is completed.
        inferred: Whether the model was asked for this record, and not for another of equal content.
        seen: The state of which this is the outcome: nothing is stored if the record has come to another one; None to
            store it anyway.
        attempt: The number of this attempt, counted from 1: the retry count if it fails, also if it can't be stored.
    """

    version: RecordVersion
    content: Content
    state: ProcessingState
    summary: Summary | None = None
    inferred: bool = False
    attempt: int = 1
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class ChunkStats:
    """What one chunk took; units are in the names.

    Attributes:
        latencies: The share of each inferred record in the time of inference, in seconds.
        rss_bytes: Memory of the process.
        cpu_share: Cores that it used.
        slots_in_use: The mean over the chunk's time.
        prompt_tokens, output_tokens: Of all records; None where an engine did not count those of some.
        request_seconds: How long each inferred record held a slot.
        queue_seconds: How long each inferred record waited for a slot, where the engine tells.
        device: What the model ran on; None where nothing was inferred.
    """

    started_at: float
    finished_at: float
    latencies: list[float] = field(default_factory=list)
    rss_bytes: int = 0
    cpu_share: float = 0.0
    slots: int = 0
    slots_in_use: float = 0.0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    request_seconds: list[float] = field(default_factory=list)
    device: str | None = None
    queue_seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A few dozen records of one batch: the unit of commit."""

    outcomes: Sequence[Outcome]
    stats: ChunkStats


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did not store, by the keys of the records.

    Attributes:
        superseded: Their content in the source is not the one that was summarised.
        taken_over: Another run has taken them over meanwhile; what it stores counts.
    """

    superseded: frozenset[str] = frozenset()
    taken_over: frozenset[str] = frozenset()

    def __or__(self, other: Committed) -> Committed:
        return Committed(self.superseded | other.superseded, self.taken_over | other.taken_over)


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
            found = self._commit(source, outcomes, scope, _Counted(name, outcomes, chunk.stats))
        except StoreError as error:
            _reraise_unless_refused(error)
            outcomes, found = self._commit_each(source, outcomes, scope)
            kept = [o for o in outcomes if o.version.key not in found.taken_over]
            ended = Counter(State.SKIPPED if o.version.key in found.superseded else o.state.state for o in kept)
            counted = _Counted(name, outcomes, chunk.stats, ended, sum(o.inferred for o in kept))
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
        counted: _Counted | None = None,
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
            "held": [_held_row(o) for o in outcomes],
            "contents": [[o.version.key, *remember(o.content)] for o in made],
            "summaries": [_summary_row(o.summary, scope) for o in made if o.summary],
            "documents": [_document_row(o.summary, o.content) for o in made if o.summary],
            "indexed": [[o.version.source, o.version.key] for o in made if o.summary],
            "made": [state_row(o.version, o.state, scope) for o in made],
            "superseded": [state_row(o.version, superseded, scope) for o in made],
            "skipped": [state_row(o.version, o.state, scope) for o in skipped],
            "ended": [_ended_row(place, o, place < len(made)) for place, o in enumerate([*made, *skipped])],
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


def _held_row(outcome: Outcome) -> list[Any]:
    version, seen = outcome.version, outcome.seen
    return [version.source, version.key, version.content_hash, seen and seen.owner, seen and seen.since]


def _ended_row(place: int, outcome: Outcome, made: bool) -> list[Any]:
    """A row of ``_ended``, with whether its content has to be the one of the source."""
    confidence = outcome.summary.confidence if outcome.summary and outcome.inferred else None
    ended = [str(outcome.state.state), outcome.state.error_code, int(outcome.inferred), confidence]
    return [place, outcome.version.key, *ended, made]


def _summary_row(summary: Summary, scope: Scope) -> list[Any]:
    return [scope.run if column == "run" else getattr(summary, column) for column in SUMMARY.columns]


def _document_row(summary: Summary, content: Content) -> list[str]:
    words = document_words(summary.key, summary.text, content)
    return [summary.source, summary.key, summary.recipe, summary.content_hash, words]


@dataclass(frozen=True, slots=True)
class _Counted:
    """The row of a chunk, and what it adds to the totals beside its outcomes.

    Attributes:
        earlier: Outcomes that are committed already.
        earlier_inferred: How many of them were inferred.
    """

    name: str
    outcomes: Sequence[Outcome]
    stats: ChunkStats
    earlier: Mapping[State, int] = field(default_factory=dict)
    earlier_inferred: int = 0

    def row(self, scope: Scope) -> list[Any]:
        """A row of :data:`CHUNK`, with the counts of earlier outcomes only."""
        stats, errors = self.stats, [o.state.error for o in self.outcomes if o.state.error]
        completed, failed, skipped = (self.earlier.get(s, 0) for s in (State.COMPLETED, State.FAILED, State.SKIPPED))
        return [
            scope.batch, scope.recipe, self.name, scope.run, stats.started_at, stats.finished_at, completed,
            self.earlier_inferred, failed, skipped, stats.latencies, stats.rss_bytes, stats.cpu_share, stats.slots,
            stats.slots_in_use, errors[-1] if errors else "", stats.prompt_tokens, stats.output_tokens,
            stats.device, fmean(stats.queue_seconds) if stats.queue_seconds else None,
        ]  # fmt: skip

    def addends(self) -> list[Addend]:
        """What the chunk adds to the totals beside its outcomes."""
        stats, seconds = self.stats, self.stats.finished_at - self.stats.started_at
        tokens = {"prompt": stats.prompt_tokens, "output": stats.output_tokens}
        return [
            ("busy_seconds", "", seconds),
            ("slot_seconds", "", stats.slots_in_use * seconds),
            *(("tokens", kind, count) for kind, count in tokens.items() if count is not None),
            *histogram("record_seconds", stats.latencies),
            *histogram("request_seconds", stats.request_seconds),
            *histogram("queue_seconds", stats.queue_seconds),
        ]
