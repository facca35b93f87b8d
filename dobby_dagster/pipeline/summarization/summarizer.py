"""Members of a batch in, chunks of outcomes out, through the engine and the quality gate."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import psutil

from dobby_dagster.domain.errors import DobbyError, RecordError, Retry
from dobby_dagster.domain.heartbeat import awaiting_tokens
from dobby_dagster.domain.records import Record, content_hash, readable_text
from dobby_dagster.domain.scope import Scope
from dobby_dagster.domain.settings import PipelineSettings, SecondTry
from dobby_dagster.domain.states import COMPLETED, DELETED, SUPERSEDED, ProcessingState, skipped
from dobby_dagster.domain.summaries import Recipe, Summary
from dobby_dagster.inference.engine import WINDOW, Answer, Avoid, Engine, Failure, Generation, Request
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.pipeline.progress import report
from dobby_dagster.pipeline.summarization.run_claims import RunClaims
from dobby_dagster.pipeline.summarization.second_try import Attempt, avoided, better
from dobby_dagster.pipeline.summarization.suspect_windows import windows
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunks import Chunk, ChunkStats, Outcome
from dobby_dagster.store.ledger.record_states import Member
from dobby_dagster.store.source.source_relation import Source

# A monitor reads what has changed every few seconds; one that was away for longer counts all records again.
CHANGES_KEPT_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Item:
    """A member of a batch with its record as the source holds it now."""

    member: Member
    record: Record
    fingerprint: str

    @property
    def text(self) -> str:
        """The content as the model reads it."""
        return readable_text(self.record.content) or ""

    @property
    def attempt(self) -> int:
        """The number of this attempt, counted from 1."""
        return (self.member.state.retry_count if self.member.state else 0) + 1


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
        self._process = psutil.Process()
        self._claim_seconds = claim_seconds
        self._claims: RunClaims
        self._device: str | None = None
        self._start = self._mark()

    def __enter__(self) -> Summarizer:
        self._claims = RunClaims(self._store, self._claim_seconds).__enter__()
        self._store.upkeep.forget_changes(time.time() - CHANGES_KEPT_SECONDS)
        return self

    def __exit__(self, *exc: object) -> None:
        self._claims.__exit__(*exc)

    def summarize(self, members: Sequence[Member], scope: Scope) -> Iterator[Chunk]:
        """One outcome for each member that still needs one; a member that another run has claimed is left to that run.

        Outcomes come in chunks of at most ``chunk_size``, as they are ready. Nothing is inferred while a chunk is
        being committed: the caller's pace is the engine's.

        Args:
            members: Members of the batch that need a run.
            scope: The recipe, the batch and the run.
        """
        size = self._engine.slots * WINDOW  # keeps the engine's slots full
        for window in windows(members, size, self._store.stalls.suspects(scope), self._max_retries):
            entries: list[tuple[Outcome, Generation | None]] = []
            self._start = self._mark()
            for entry in self._outcomes(window, scope):
                entries.append(entry)
                report("inferring", 1)
                if len(entries) == self._chunk_size:
                    yield self._chunk(entries)
                    entries, self._start = [], self._mark()
            if entries:
                yield self._chunk(entries)

    def _outcomes(self, members: Sequence[Member], scope: Scope) -> Iterator[tuple[Outcome, Generation | None]]:
        """First the outcomes that need no inference, then each as it is inferred."""
        found = self._source.get([member.version.key for member in members])
        items: list[Item] = []
        for member in members:
            record = found.get(member.version.key)
            if record is None or (reason := _reason_to_skip(record, member)):
                reason = DELETED if record is None else reason
                content = record.content if record else None
                yield Outcome(member.version, content, skipped(reason), seen=member.seen), None
            else:
                fingerprint = self._recipe.fingerprint(member.version.content_hash, record.language)
                items.append(Item(member, record, fingerprint))
        stored = self._store.chunks.find(sorted({item.fingerprint for item in items})) if items else {}
        new = []
        for item in items:
            if item.fingerprint in stored:
                yield self._reused(item, scope, stored[item.fingerprint]), None
            else:
                new.append(item)
        if new:
            self._load()  # before the claim: a load that hangs makes no record a suspect
            yield from self._infer(self._claim(new, scope), scope)

    def _load(self) -> None:
        """Load the model, unless it is loaded; a chunk's time does not include it."""
        before = self._mark()
        self._device = self._engine.load().device
        self._start += self._mark() - before

    def _claim(self, items: Sequence[Item], scope: Scope) -> dict[str, list[Item]]:
        """The items that no other run has claimed, by fingerprint: equal contents are inferred once."""
        won = {member.version.key for member in self._claims.claim([item.member for item in items], scope)}
        groups: dict[str, list[Item]] = {}
        for item in items:
            if item.member.version.key in won:
                groups.setdefault(item.fingerprint, []).append(item)
        return groups

    def _infer(self, groups: dict[str, list[Item]], scope: Scope) -> Iterator[tuple[Outcome, Generation | None]]:
        """An outcome for each item.

        What failed and may succeed alone is retried once, alone; an output that is not good enough is generated once
        more, after all others.
        """
        retried, doubtful = list[str](), dict[str, tuple[Attempt, Avoid]]()
        for fingerprint, result in self._ask(groups, scope):
            text = groups[fingerprint][0].text
            if isinstance(result, RecordError) and result.retry is Retry.RETRY:
                retried.append(fingerprint)
            elif isinstance(result, Attempt) and (avoid := avoided(result, text, self._second_try)):
                doubtful[fingerprint] = result, avoid
            else:
                yield from self._results(groups[fingerprint], scope, result)
        again = {fingerprint: groups[fingerprint] for fingerprint in doubtful}
        for fingerprint, result in self._ask(again, scope, {key: avoid for key, (_, avoid) in doubtful.items()}):
            first, _ = doubtful[fingerprint]
            kept = better(first, result, groups[fingerprint][0].text) if isinstance(result, Attempt) else first
            yield from self._results(groups[fingerprint], scope, kept)
        for fingerprint in retried:
            for _, result in self._ask({fingerprint: groups[fingerprint]}, scope):
                yield from self._results(groups[fingerprint], scope, result)

    def _ask(
        self, groups: dict[str, list[Item]], scope: Scope, avoid: Mapping[str, Avoid] = MappingProxyType({})
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
            if unanswered and all(map(is_lost, unanswered)):
                return
        if unanswered:
            raise DobbyError(f"the engine left {len(unanswered)} of {len(groups)} requests unanswered")

    def _checked(self, answer: Answer, item: Item) -> Attempt | RecordError:
        """The engine's error, or the output after the quality gate."""
        return answer.error if isinstance(answer, Failure) else Attempt.of(answer, item.text, self._prompt.text)

    def _results(
        self, items: list[Item], scope: Scope, result: Attempt | RecordError
    ) -> Iterator[tuple[Outcome, Generation | None]]:
        """The outcomes of items with equal contents; the inference counts for the first of them only."""
        found = result if isinstance(result, RecordError) else result.error or result.output
        for place, item in enumerate(items):
            version, content = item.member.version, item.record.content
            if isinstance(found, RecordError):
                state = ProcessingState.failed(found, item.attempt)
                yield Outcome(version, content, state, attempt=item.attempt, seen=self._claims.seen), None
                continue
            first = place == 0
            summary = self._summary(item, scope, found, found.seconds if first else 0.0)
            outcome = Outcome(version, content, COMPLETED, summary, first, item.attempt, self._claims.seen)
            yield outcome, found if first else None

    def _summary(self, item: Item, scope: Scope, result: Generation, seconds: float) -> Summary:
        version = item.member.version
        return Summary(
            source=version.source,
            key=version.key,
            fingerprint=item.fingerprint,
            content_hash=version.content_hash,
            text=result.text,
            confidence=result.confidence,
            mean_logprob=result.mean_logprob,
            min_logprob=result.min_logprob,
            finish_reason=result.finish_reason,
            prompt_tokens=result.prompt_tokens,
            output_tokens=result.output_tokens,
            truncated=result.truncated,
            model=self._recipe.model,
            prompt=self._recipe.prompt,
            recipe=self._recipe.id,
            batch=scope.batch,
            inference_seconds=seconds,
            created_at=time.time(),
        )

    def _reused(self, item: Item, scope: Scope, row: dict[str, object]) -> Outcome:
        """The stored summary of an equal content, under this record as well."""
        version = item.member.version
        values = {name: value for name, value in row.items() if name in Summary.__dataclass_fields__}
        values |= {"source": version.source, "key": version.key, "fingerprint": item.fingerprint}
        if row["key"] != version.key or row["source"] != version.source:
            values |= {"batch": scope.batch, "inference_seconds": 0.0, "created_at": time.time()}
        summary = Summary(**values)  # type: ignore[arg-type]
        seen = item.member.seen
        return Outcome(version, item.record.content, COMPLETED, summary, attempt=item.attempt, seen=seen)

    def _chunk(self, entries: Sequence[tuple[Outcome, Generation | None]]) -> Chunk:
        answers = [answer for _, answer in entries if answer]
        spent = self._mark() - self._start
        seconds, finished_at = max(spent.at, 1e-9), time.time()
        stats = ChunkStats(
            started_at=finished_at - seconds,  # a clock that was set back makes no time negative
            finished_at=finished_at,
            latencies=[round(answer.seconds, 6) for answer in answers],
            rss_bytes=self._process.memory_info().rss,
            cpu_share=spent.cpu_seconds / seconds,
            slots=self._engine.slots,
            slots_in_use=spent.slot_seconds / seconds,
            prompt_tokens=_sum_known([answer.prompt_tokens for answer in answers]),
            output_tokens=_sum_known([answer.output_tokens for answer in answers]),
            request_seconds=[answer.slot_seconds for answer in answers],
            device=self._device if answers else None,
            queue_seconds=[answer.queue_seconds for answer in answers if answer.queue_seconds is not None],
        )
        return Chunk([outcome for outcome, _ in entries], stats)

    def _mark(self) -> _Mark:
        times = self._process.cpu_times()
        return _Mark(time.monotonic(), float(times.user + times.system), self._engine.slot_use.seconds)


@dataclass(frozen=True, slots=True)
class _Mark:
    """A moment: seconds on a clock that never goes back, CPU time of the process, and the time that slots were held."""

    at: float
    cpu_seconds: float
    slot_seconds: float

    def __add__(self, other: _Mark) -> _Mark:
        return _Mark(self.at + other.at, self.cpu_seconds + other.cpu_seconds, self.slot_seconds + other.slot_seconds)

    def __sub__(self, other: _Mark) -> _Mark:
        return self + _Mark(-other.at, -other.cpu_seconds, -other.slot_seconds)


def _sum_known(counts: Sequence[int | None]) -> int | None:
    """The sum; None where one of them is unknown."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _reason_to_skip(record: Record, member: Member) -> str:
    if content_hash(record.content) != member.version.content_hash:
        return SUPERSEDED
    if record.kind == "empty":
        return "empty content"
    if readable_text(record.content) is None:
        return f"binary content, {record.size:,} bytes"
    return ""
