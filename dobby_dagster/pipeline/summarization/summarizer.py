"""Windows of items in, chunks of outcomes out, through the engine and the quality gate."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import psutil

from dobby_dagster.domain.errors import DobbyError, RecordError, Retry
from dobby_dagster.domain.owner import new_owner, retire
from dobby_dagster.domain.records import Record, content_hash, readable_text
from dobby_dagster.domain.scope import BatchId, OwnerId, RunId, Scope
from dobby_dagster.domain.states import COMPLETED, ProcessingState, skipped
from dobby_dagster.domain.summaries import Recipe, Summary
from dobby_dagster.inference.engine import WINDOW, Engine, Failure, Generation, Request
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.pipeline.progress import report
from dobby_dagster.pipeline.summarization.quality_gate import gate
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.chunks import Chunk, ChunkStats, Outcome
from dobby_dagster.store.ledger.record_states import Member


@dataclass(frozen=True, slots=True)
class Item:
    """A member of a batch with its record as the source holds it now; None where it is gone."""

    member: Member
    record: Record | None


class Summarizer:
    """Turns chunks of items into outcomes; commits nothing but claims.

    A context manager: inside it its owner lives, and at the end what it had begun and not ended is given back.

    Args:
        store: Where claims are made and earlier summaries found.
        engine: Loaded at the first record that needs it.
        prompt: The prompt.
        recipe: What decides the fingerprint.
        run: The run's identifier, for the audit trail.
        chunk_size: Outcomes of a chunk, at most.
    """

    def __init__(
        self, store: CozoStore, engine: Engine, prompt: Prompt, recipe: Recipe, run: RunId, chunk_size: int
    ) -> None:
        self._chunk_size = chunk_size
        self._store = store
        self._engine = engine
        self._prompt = prompt
        self._recipe = recipe
        self._run = run
        self._process = psutil.Process()
        self._owner = OwnerId("")
        self._begun: set[BatchId] = set()

    def __enter__(self) -> Summarizer:
        self._owner = new_owner()
        return self

    def __exit__(self, *exc: object) -> None:
        retire(self._owner)
        for batch in sorted(self._begun):
            self._store.states.release(self._owner, self._scope(batch))

    def summarize(self, work: Iterable[tuple[BatchId, Sequence[Item]]]) -> Iterator[tuple[BatchId, Chunk]]:
        """One outcome for each item that is still to do; an item that another run has taken is left to it.

        Outcomes come in chunks of at most ``chunk_size``, as they are ready; work is taken in windows that keep the
        engine's slots full. Nothing is inferred while a chunk is being committed: the caller's pace is the engine's.

        Args:
            work: Batches with their items; those of a batch one after another.
        """
        tray: list[tuple[Outcome, Generation | None]] = []
        for batch, items in self._windows(work):
            began, cpu = time.time(), self._cpu_seconds()
            for entry in self._outcomes_of(batch, items):
                tray.append(entry)
                report("inferring", 1)
                if len(tray) == self._chunk_size:
                    yield batch, self._chunk(tray, began, cpu)
                    tray, began, cpu = [], time.time(), self._cpu_seconds()
            if tray:
                yield batch, self._chunk(tray, began, cpu)
                tray = []

    def _windows(self, work: Iterable[tuple[BatchId, Sequence[Item]]]) -> Iterator[tuple[BatchId, list[Item]]]:
        """Items of one batch, as many as keep the slots full."""
        gathered: list[Item] = []
        of = BatchId("")
        for batch, items in work:
            if gathered and (batch != of or len(gathered) + len(items) > self._engine.slots * WINDOW):
                yield of, gathered
                gathered = []
            of = batch
            gathered = [*gathered, *items]
        if gathered:
            yield of, gathered

    def _outcomes_of(self, batch: BatchId, items: Sequence[Item]) -> Iterator[tuple[Outcome, Generation | None]]:
        """What needs no inference first, then each outcome as it is inferred."""
        ready: dict[str, tuple[Item, str]] = {}
        for item in items:
            version = item.member.version
            reason = _reason_to_skip(item)
            if reason:
                content = item.record.content if item.record else None
                yield Outcome(version, content, skipped(reason)), None
            elif item.record is not None:
                ready[version.key] = (item, self._recipe.fingerprint(version.content_hash, item.record.language))
        if not ready:
            return
        stored = self._store.chunks.find(sorted({fingerprint for _, fingerprint in ready.values()}))
        for key, (item, fingerprint) in list(ready.items()):
            if fingerprint in stored:
                yield self._reused(item, fingerprint, batch, stored[fingerprint]), None
                del ready[key]
        if not ready:
            return
        members = [item.member for item, _ in ready.values()]
        self._begun.add(batch)
        won = self._store.states.claim(members, self._owner, self._scope(batch))
        mine = {key: entry for key, entry in ready.items() if (key, entry[0].member.version.content_hash) in won}
        yield from self._infer(mine, batch)

    def _infer(self, mine: dict[str, tuple[Item, str]], batch: BatchId) -> Iterator[tuple[Outcome, Generation | None]]:
        """Each fingerprint once; what fails and may be better for it, once more and alone."""
        groups: dict[str, list[Item]] = {}
        for item, fingerprint in mine.values():
            groups.setdefault(fingerprint, []).append(item)
        again = []
        for fingerprint, result in self._ask(groups):
            if isinstance(result, RecordError) and result.retry is Retry.RETRY:
                again.append(fingerprint)
                continue
            yield from self._outcomes(groups[fingerprint], fingerprint, batch, result)
        for fingerprint in again:
            for _, result in self._ask({fingerprint: groups[fingerprint]}):
                yield from self._outcomes(groups[fingerprint], fingerprint, batch, result)

    def _ask(self, groups: dict[str, list[Item]]) -> Iterator[tuple[str, Generation | RecordError]]:
        requests = (self._request(fingerprint, items[0]) for fingerprint, items in groups.items())
        waiting = set(groups)
        for answer in self._engine.infer(requests, self._prompt):
            waiting.remove(answer.id)
            if isinstance(answer, Failure):
                yield answer.id, answer.error
                continue
            record = groups[answer.id][0].record
            try:
                gate(answer.text, _text(record), self._prompt.text)
            except RecordError as error:
                yield answer.id, error
            else:
                yield answer.id, answer
        if waiting:
            raise DobbyError(f"the engine left {len(waiting)} of {len(groups)} requests unanswered")

    def _request(self, fingerprint: str, item: Item) -> Request:
        language = item.record.language if item.record else ""
        return Request(fingerprint, _text(item.record), language)

    def _outcomes(
        self, items: list[Item], fingerprint: str, batch: BatchId, result: Generation | RecordError
    ) -> Iterator[tuple[Outcome, Generation | None]]:
        for place, item in enumerate(items):
            version, content = item.member.version, item.record.content if item.record else None
            if isinstance(result, RecordError):
                tries = (item.member.state.retry_count if item.member.state else 0) + 1
                yield Outcome(version, content, ProcessingState.failed(result, tries)), None
                continue
            first = place == 0
            summary = Summary(
                source=version.source,
                key=version.key,
                fingerprint=fingerprint,
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
                batch=batch,
                inference_seconds=result.seconds if first else 0.0,
                created_at=time.time(),
            )
            yield Outcome(version, content, COMPLETED, summary, inferred=first), result if first else None

    def _reused(self, item: Item, fingerprint: str, batch: BatchId, row: dict[str, object]) -> Outcome:
        """The summary of an equal content, stored under this record as well."""
        version = item.member.version
        names = Summary.__dataclass_fields__
        values = {name: value for name, value in row.items() if name in names}
        values |= {"source": version.source, "key": version.key, "fingerprint": fingerprint}
        if row["key"] != version.key or row["source"] != version.source:
            values |= {"batch": batch, "inference_seconds": 0.0, "created_at": time.time()}
        content = item.record.content if item.record else None
        return Outcome(version, content, COMPLETED, Summary(**values))  # type: ignore[arg-type]

    def _chunk(self, entries: Sequence[tuple[Outcome, Generation | None]], began: float, cpu: float) -> Chunk:
        answers = [answer for _, answer in entries if answer]
        ended = time.time()
        wall = max(ended - began, 1e-9)
        stats = ChunkStats(
            started_at=began,
            finished_at=ended,
            latencies=[round(answer.seconds, 6) for answer in answers],
            rss_bytes=self._process.memory_info().rss,
            cpu_share=(self._cpu_seconds() - cpu) / wall,
            slots=self._engine.slots,
            slots_in_use=sum(a.batch_size for a in answers) / len(answers) if answers else 0.0,
        )
        return Chunk([outcome for outcome, _ in entries], stats)

    def _scope(self, batch: BatchId) -> Scope:
        return Scope(self._recipe.id, batch, self._run)

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def _reason_to_skip(item: Item) -> str:
    record, version = item.record, item.member.version
    if record is None:
        return "deleted"
    if content_hash(record.content) != version.content_hash:
        return "superseded"
    if record.kind == "empty":
        return "empty content"
    if readable_text(record.content) is None:
        return f"binary content, {record.size:,} bytes"
    return ""


def _text(record: Record | None) -> str:
    return (readable_text(record.content) if record else None) or ""
