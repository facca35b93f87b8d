"""Members of a batch in, chunks of outcomes out, through the engine and the quality gate."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from dobby_dagster.domain.errors import DobbyError, RecordError, Retry
from dobby_dagster.domain.heartbeat import awaiting_tokens
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import PipelineSettings, SecondTry
from dobby_dagster.domain.summaries import Recipe
from dobby_dagster.inference.engine import WINDOW, Answer, Avoid, Engine, Failure, Generation, Request
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.pipeline.callees.callee_summaries import CalleeSummaries
from dobby_dagster.pipeline.progress import report
from dobby_dagster.pipeline.summarization.chunk_meter import ChunkMeter
from dobby_dagster.pipeline.summarization.record_outcomes import (
    Item,
    inferred_outcomes,
    reused_outcome,
    skipped_outcome,
)
from dobby_dagster.pipeline.summarization.run_claims import RunClaims
from dobby_dagster.pipeline.summarization.second_try import Attempt, avoided, better
from dobby_dagster.pipeline.summarization.suspect_windows import windows
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunk import Chunk, Outcome
from dobby_dagster.store.ledger.record_states import Member
from dobby_dagster.store.source.source_relation import Source

# A monitor reads what has changed every few seconds; one that was away for longer counts all records again.
CHANGES_KEPT_SECONDS = 3_600.0


class Summarizer:
    """Turns members of batches into outcomes; writes nothing but claims.

    A context manager: its owner lives inside it, and at the end it releases what it claimed and did not finish.

    Args:
        store: Where claims are made and earlier summaries found.
        source: Where the records are.
        engine: Loaded at the first record that needs it.
        prompt: The prompt.
        recipe: What decides the fingerprints.
        chunk_size: Maximum outcomes per chunk.
        max_retries: Failed attempts before a record is quarantined.
        claim_seconds: How long its claims are valid without a renewal.
    """

    def __init__(
        self,
        store: CozoStore,
        source: Source,
        engine: Engine,
        prompt: Prompt,
        recipe: Recipe,
        chunk_size: int,
        max_retries: int = 3,
        claim_seconds: float = PipelineSettings().claim_seconds,
    ) -> None:
        self._store = store
        self._source = source
        self._engine = engine
        self._prompt = prompt
        self._recipe = recipe
        self._chunk_size = chunk_size
        self._max_retries = max_retries
        self._second_try: SecondTry = recipe.settings.get("second_try", "never")
        self._claim_seconds = claim_seconds
        self._claims: RunClaims
        self._device: str | None = None
        self._meter = ChunkMeter(engine)
        self._callees = CalleeSummaries(store, source, recipe)

    def __enter__(self) -> Summarizer:
        self._store.upkeep.forget_changes(time.time() - CHANGES_KEPT_SECONDS)
        self._claims = RunClaims(self._store, self._claim_seconds).__enter__()  # last: it starts a thread
        return self

    def __exit__(self, *exc: object) -> None:
        self._claims.__exit__(*exc)

    def summarize(self, members: Sequence[Member], scope: Scope) -> Iterator[Chunk]:
        """One outcome for each member that still needs one; a member that another run has claimed is left to that run.

        Outcomes come in chunks of at most ``chunk_size``, as they are ready. Nothing is inferred while a chunk is
        being committed: the caller's pace is the engine's. Where summaries of callees are told, callees are committed
        before their callers are read.

        Args:
            members: Members of the batch that need a run.
            scope: The recipe, the batch and the run.
        """
        for window in self._windows(members, scope):
            entries: list[tuple[Outcome, Generation | None]] = []
            self._meter.restart()
            for entry in self._outcomes(window, scope):
                entries.append(entry)
                report("inferring", 1)
                if len(entries) == self._chunk_size:
                    yield self._chunk(entries)
                    entries = []
                    self._meter.restart()
            if entries:
                yield self._chunk(entries)

    def _windows(self, members: Sequence[Member], scope: Scope) -> Iterator[Sequence[Member]]:
        size = self._engine.slots * WINDOW  # keeps the engine's slots full
        suspects = self._store.stalls.suspects(scope)
        for level in self._callees.levels(members):
            yield from windows(level, size, suspects, self._max_retries)

    def _outcomes(self, members: Sequence[Member], scope: Scope) -> Iterator[tuple[Outcome, Generation | None]]:
        """First the outcomes that need no inference, then each as it is inferred."""
        found = self._source.get([member.version.key for member in members])
        told = self._callees.of(found)
        items: list[Item] = []
        for member in members:
            record = found.get(member.version.key)
            ended = skipped_outcome(member, record)
            if ended is not None:
                yield ended, None
            elif record is not None:
                context = told[member.version.key].context
                fingerprint = self._recipe.fingerprint(member.version.content_hash, record.language, context)
                items.append(Item(member, record, fingerprint, context))
        stored = self._store.chunks.find(sorted({item.fingerprint for item in items})) if items else {}
        new = []
        for item in items:
            if item.fingerprint in stored:
                yield reused_outcome(item, scope, stored[item.fingerprint]), None
            else:
                new.append(item)
        if new:
            self._load()  # before the claim: a load that hangs makes no record a suspect
            yield from self._infer(self._claim(new, scope), scope)

    def _load(self) -> None:
        """Load the model, unless it is loaded; a chunk's time does not include it."""
        with self._meter.left_out():
            self._device = self._engine.load().device

    def _claim(self, items: Sequence[Item], scope: Scope) -> dict[str, list[Item]]:
        """The items that no other run has claimed, by fingerprint: equal contents are inferred once."""
        won = {member.version.key for member in self._claims.claim([item.member for item in items], scope)}
        groups: dict[str, list[Item]] = {}
        for item in items:
            if item.member.version.key in won:
                groups.setdefault(item.fingerprint, []).append(item)
        return groups

    def _infer(self, groups: dict[str, list[Item]], scope: Scope) -> Iterator[tuple[Outcome, Generation | None]]:
        """An outcome for each item; an output that is not good enough is generated once more, after all others."""
        doubtful: dict[str, tuple[Attempt, Avoid]] = {}
        for fingerprint, result in self._asked(groups, scope):
            text = groups[fingerprint][0].text
            if isinstance(result, Attempt) and (avoid := avoided(result, text, self._second_try)):
                doubtful[fingerprint] = result, avoid
            else:
                yield from self._results(groups[fingerprint], scope, result)
        again = {fingerprint: groups[fingerprint] for fingerprint in doubtful}
        for fingerprint, result in self._asked(again, scope, {key: avoid for key, (_, avoid) in doubtful.items()}):
            first, _ = doubtful[fingerprint]
            kept = better(first, result, groups[fingerprint][0].text) if isinstance(result, Attempt) else first
            yield from self._results(groups[fingerprint], scope, kept)

    def _asked(
        self, groups: dict[str, list[Item]], scope: Scope, avoid: Mapping[str, Avoid] = MappingProxyType({})
    ) -> Iterator[tuple[str, Attempt | RecordError]]:
        """:meth:`_ask`; what failed and may succeed alone is asked for once more, alone, after all others."""
        alone = list[str]()
        for fingerprint, result in self._ask(groups, scope, avoid):
            if isinstance(result, RecordError) and result.retry is Retry.RETRY:
                alone.append(fingerprint)
            else:
                yield fingerprint, result
        for fingerprint in alone:
            yield from self._ask({fingerprint: groups[fingerprint]}, scope, avoid)

    def _ask(
        self, groups: dict[str, list[Item]], scope: Scope, avoid: Mapping[str, Avoid]
    ) -> Iterator[tuple[str, Attempt | RecordError]]:
        """The engine's answer for each fingerprint, as it comes, after the quality gate; a failure is an error.

        What this run has lost to another after a pause is not asked for; once all that is left is lost, nothing is.

        Raises:
            DobbyError: The engine left a request unanswered.
        """
        if not groups:
            return
        unanswered = set(groups)

        def is_lost(fingerprint: str) -> bool:
            return not any(self._claims.holds(item.member, scope) for item in groups[fingerprint])

        def requests() -> Iterator[Request]:
            for fingerprint, items in groups.items():
                if is_lost(fingerprint):
                    unanswered.discard(fingerprint)
                else:
                    yield Request(fingerprint, items[0].text, items[0].record.language, avoid.get(fingerprint))

        for answer in awaiting_tokens(self._engine.infer(requests(), self._prompt)):
            unanswered.remove(answer.id)
            yield answer.id, self._checked(answer, groups[answer.id][0])
            if unanswered and all(map(is_lost, list(unanswered))):  # an engine may read requests in another thread
                return
        if unanswered:
            raise DobbyError(f"the engine left {len(unanswered)} of {len(groups)} requests unanswered")

    def _checked(self, answer: Answer, item: Item) -> Attempt | RecordError:
        """The engine's error, or the output after the quality gate."""
        return answer.error if isinstance(answer, Failure) else Attempt.of(answer, item.text, self._prompt.text)

    def _results(
        self, items: Sequence[Item], scope: Scope, result: Attempt | RecordError
    ) -> Iterator[tuple[Outcome, Generation | None]]:
        return inferred_outcomes(items, scope, self._recipe, result, self._claims.seen)

    def _chunk(self, entries: Sequence[tuple[Outcome, Generation | None]]) -> Chunk:
        answers = [answer for _, answer in entries if answer]
        return Chunk([outcome for outcome, _ in entries], self._meter.stats(answers, self._device))
