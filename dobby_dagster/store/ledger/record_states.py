"""The members of batches and their states: which are unfinished, and who works on them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dobby_dagster.domain.errors import Retry, SourceError
from dobby_dagster.domain.owner import Renewal, is_alive
from dobby_dagster.domain.records import RecordVersion
from dobby_dagster.domain.scope import BatchId, RecipeId, Scope
from dobby_dagster.domain.states import PASSING_REASONS, ProcessingState, State
from dobby_dagster.store.cozoscript.script import script, unpack
from dobby_dagster.store.database.connection import Connection
from dobby_dagster.store.ledger.relations import STATE, transition
from dobby_dagster.store.ledger.renewals import Renewals
from dobby_dagster.store.source.source_relation import Source

# Whether a failed record is retried: the opposite of is_quarantined, as a condition on a state's columns.
MAY_PASS = f"is_in(retry, {[retry.value for retry in Retry if retry.may_pass]}) && retry_count < $max_retries"
# ProcessingState.is_unfinished as a condition on a state's columns, of which `in_batch` is the batch.
UNFINISHED = f"""is_in(state, {[State.PENDING.value, State.IN_PROGRESS.value]})
    || (state == '{State.FAILED}' && {MAY_PASS})
    || (state == '{State.SKIPPED}' && is_in(reason, {list(PASSING_REASONS)}) && in_batch < batch)"""
# Records of the batches that one query looks at: a writer waits for about a tenth of a second.
PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Seen:
    """The state of a record as a run saw it last: what the run writes is stored only if the state is still that one.

    Attributes:
        owner: Who had the record in progress.
        since: When it came to that state; None where the owner alone decides, who claimed it.
    """

    owner: str
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a batch with its state under a recipe; None where it has none yet.

    Attributes:
        since: When it came to that state, in seconds since the epoch.
        renewal: When the owner of a record in progress last renewed its claims.
    """

    version: RecordVersion
    state: ProcessingState | None
    since: float = 0.0
    renewal: Renewal | None = field(default=None, compare=False)

    @property
    def is_abandoned(self) -> bool:
        """Whether the record is in progress, and the run that started it has died."""
        state = self.state
        return (
            state is not None
            and state.state is State.IN_PROGRESS
            and not is_alive(state.owner, self.since, self.renewal)
        )

    def is_runnable(self, batch: BatchId, max_retries: int) -> bool:
        """Whether a run of ``batch`` that starts now processes this record."""
        return self.state is None or self.state.is_runnable(batch, max_retries, not self.is_abandoned)

    @property
    def seen(self) -> Seen:
        """The state as it was read."""
        return Seen(self.state.owner if self.state else "", self.since)


class RecordStates:
    """States of record versions under recipes, kept with Cozo's time travel."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._renewals = Renewals(connection)

    def members(self, scope: Scope) -> list[Member]:
        """All members of the batch in their order, with their states under the recipe."""
        member = "*dobby_member{batch: $batch, position, source, key, content_hash, priority, size}"
        names = "state, error, error_code, retry, retry_count, reason, owner, since"
        state = f"*dobby_state{{source, key, content_hash, recipe: $recipe, batch: in_batch, {names} @ 'END'}}"
        head = f"position, source, key, content_hash, priority, size, in_batch, {names}"
        query = f"""has[position] := *dobby_member{{batch: $batch, position, source, key, content_hash}},
            *dobby_state{{source, key, content_hash, recipe: $recipe, state @ 'END'}}
        ?[{head}] := {member}, {state}
        ?[{head}] := {member}, not has[position], state = '', error = '', error_code = '', retry = '',
            retry_count = 0, reason = '', owner = '', since = 0.0, in_batch = ''"""
        rows = list(self._connection.run(query, {"batch": scope.batch, "recipe": scope.recipe}).dicts())
        renewals = self._renewals.of({row["owner"] for row in rows if row["owner"]})
        return [_member(row, renewals.get(row["owner"])) for row in sorted(rows, key=lambda row: row["position"])]

    def members_from(self, source: Source, scope: Scope) -> list[Member]:
        """All members of the batch, which is one of ``source``.

        Raises:
            SourceError: There is no such batch, or it holds records of another relation than ``source``.
        """
        members = self.members(scope)
        if not members:
            raise no_batch(scope.batch)
        relation = source.settings.relation
        for member in members:
            if member.version.source != relation:
                raise SourceError(
                    f"{scope.batch} holds records of relation '{member.version.source}', the settings name '{relation}'",
                    hint="choose it with --relation or DOBBY_SOURCE_RELATION",
                )
        return members

    def unfinished(
        self, relation: str, recipe: RecipeId, max_retries: int, batches: Sequence[BatchId] | None = None
    ) -> dict[BatchId, int]:
        """Batches with members that are left to process or in progress, and how many those are, oldest first.

        Read page by page, so that other processes can use the database in between.

        Args:
            relation: The source.
            recipe: Under which the states are.
            max_retries: Failed attempts after which a record is quarantined.
            batches: Look at these only; at all where None.
        """
        found: dict[BatchId, int] = {}
        for page in self._pages(relation, batches):
            found |= self._unfinished(relation, recipe, max_retries, page)
        return found

    def _pages(self, relation: str, batches: Sequence[BatchId] | None) -> Iterator[list[BatchId]]:
        """``batches``, or all of ``relation``, in groups of about :data:`PAGE` records, in order."""
        query = "?[batch, members] := *dobby_batch{batch, source, members}, source == $source"
        if batches is not None:
            query = query.replace(":=", ":= batch in $batches,")
        rows = self._connection.run(query, {"source": relation, "batches": list(batches or [])}).rows
        page: list[BatchId] = []
        members = 0
        for batch, count in sorted(rows):
            if page and members + count > PAGE:
                yield page
                page, members = [], 0
            page.append(BatchId(batch))
            members += count
        if page:
            yield page

    def _unfinished(
        self, relation: str, recipe: RecipeId, max_retries: int, batches: Sequence[BatchId]
    ) -> dict[BatchId, int]:
        query = f"""finished[batch, position] := batch in $batches,
                *dobby_member{{batch, position, source, key, content_hash}}, source == $source,
            *dobby_state{{source, key, content_hash, recipe: $recipe, state, retry, retry_count, reason, batch: in_batch @ 'END'}},
            !({UNFINISHED})
        ?[batch, count(position)] := batch in $batches, *dobby_member{{batch, position, source}}, source == $source,
            not finished[batch, position]"""
        params = {"source": relation, "recipe": recipe, "max_retries": max_retries, "batches": list(batches)}
        return {BatchId(batch): int(count) for batch, count in sorted(self._connection.run(query, params).rows)}

    def counts(self, scope: Scope) -> dict[str, int]:
        """Members of the batch by state, and in all; a member without a state is pending."""
        members = self.members(scope)
        found = dict.fromkeys((state.value for state in State), 0)
        for member in members:
            found[member.state.state if member.state else State.PENDING] += 1
        return found | {"members": len(members)}

    def set_states(self, versions: Iterable[RecordVersion], state: ProcessingState, scope: Scope) -> None:
        """Give all ``versions`` the same state."""
        rows = [state_row(version, state, scope) for version in versions]
        if rows:
            self._connection.run(script([STATE.put()]), {"rows": rows}, write=True)

    def make_pending(self, members: Iterable[Member], scope: Scope) -> None:
        """Return ``members`` to pending, all whose state is still the one that was read."""
        members = list(members)
        if not members:
            return
        version = "source, key, content_hash"
        current = f"*dobby_state{{{version}, recipe: $recipe, since: t @ 'END'}}"
        blocks = [
            f"""{{ wanted[{version}, since] := {unpack([*version.split(", "), "since"])}
            has[{version}] := wanted[{version}, _], {current}
            ?[{version}] := wanted[{version}, since], {current}, t == since
            ?[{version}] := wanted[{version}, _], not has[{version}]
            :create _unchanged {{{version}}} }}""",
            transition("_unchanged", version, run="$run"),
        ]
        rows = [[m.version.source, m.version.key, m.version.content_hash, m.since] for m in members]
        self._connection.run(script(blocks), {"rows": rows, **asdict(scope)}, write=True)

    def failed(self, relation: str, recipe: RecipeId) -> Iterator[dict[str, Any]]:
        """Failed records in their present version: key, error, error_code, retry, retry_count, batch, since."""
        columns = "key, error, error_code, retry, retry_count, batch, since"
        query = f"""?[{columns}, content_hash] := *dobby_version{{source: $source, key, content_hash, deleted @ 'END'}},
            deleted == false, *dobby_state{{source: $source, key, content_hash, recipe: $recipe, state, error, error_code,
            retry, retry_count, batch, since @ 'END'}}, state == 'failed'"""
        yield from self._connection.run(query, {"source": relation, "recipe": recipe}).dicts()

    def quarantined(self, recipe: RecipeId, max_retries: int, batches: Sequence[BatchId]) -> dict[BatchId, int]:
        """The number of quarantined records of each of ``batches`` that has any."""
        query = f"""found[batch, source, key] := batch in $batches, *dobby_member{{batch, source, key, content_hash}},
            *dobby_state{{source, key, content_hash, recipe: $recipe, state, retry, retry_count, batch: in_batch @ 'END'}},
            in_batch == batch, state == 'failed', !({MAY_PASS}),
            *dobby_version{{source, key, content_hash: present, deleted @ 'END'}}, present == content_hash, deleted == false
        ?[batch, count(key)] := found[batch, source, key]"""
        params = {"batches": list(batches), "recipe": recipe, "max_retries": max_retries}
        return {BatchId(batch): int(count) for batch, count in self._connection.run(query, params).rows}

    def history(self, relation: str, key: str) -> list[dict[str, Any]]:
        """Every version and state that the record ever had, oldest first, by time in seconds."""
        query = """?[at, event, content_hash, recipe, error, reason, batch, run, retry_count] :=
            *dobby_state{source: $source, key: $key, content_hash, recipe, at: t, state: event, error, reason, batch, run, retry_count},
            at = to_int(t) / 1000000.0
        ?[at, event, content_hash, recipe, error, reason, batch, run, retry_count] :=
            *dobby_version{source: $source, key: $key, at: t, content_hash, deleted}, at = to_int(t) / 1000000.0,
            event = if(deleted, 'deleted', 'seen'), recipe = '', error = '', reason = '', batch = '', run = '', retry_count = 0
        :order at"""
        return list(self._connection.run(query, {"source": relation, "key": key}).dicts())


def no_batch(batch: str) -> SourceError:
    """The error of a partition that stands for no batch: one can be added in Dagster's UI under any name."""
    return SourceError(
        f"there is no batch '{batch}'", hint="partitions are added by record_batches; delete this one in the UI"
    )


def _member(row: dict[str, Any], renewal: Renewal | None) -> Member:
    version = RecordVersion(row["source"], row["key"], row["content_hash"], row["priority"], row["size"])
    if not row["state"]:
        return Member(version, None)
    state = ProcessingState(
        State(row["state"]), row["error"], row["error_code"], Retry(row["retry"]), row["retry_count"],
        row["reason"], row["owner"], row["in_batch"],
    )  # fmt: skip
    return Member(version, state, row["since"], renewal)


def state_row(version: RecordVersion, state: ProcessingState, scope: Scope) -> list[Any]:
    """One row of the relation of states, its columns but ``at``, in their order."""
    return [
        version.source, version.key, version.content_hash, scope.recipe, state.state.value, state.error, state.error_code,
        state.retry.value, state.retry_count, state.reason, state.owner, scope.batch, scope.run, time.time(),
    ]  # fmt: skip
