"""A run that was suspended or cut off: it keeps what nobody took over, and leaves the rest alone."""

from collections.abc import Callable, Iterable, Iterator

import pytest

from dobby_dagster.domain.errors import StoreUnavailableError
from dobby_dagster.domain.scope import OwnerId, RunId, Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.inference.engine import Answer, Request
from dobby_dagster.inference.prompts import Prompt
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.planning.record_selection import release
from dobby_dagster.pipeline.summarization.run_claims import RunClaims
from dobby_dagster.pipeline.summarization.summarizer import Summarizer
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import PROMPT, RECIPE, entries, run
from dobby_dagster_tests.helpers.records import put

OTHER = OwnerId("two@0b0b0b0b.1/1/1.00/x")


class PausingEngine(FakeEngine):
    """Is suspended once, after its second answer; ``meanwhile`` says what others do."""

    meanwhile: Callable[[], None]

    def infer(self, requests: Iterable[Request], prompt: Prompt) -> Iterator[Answer]:
        for place, answer in enumerate(super().infer(requests, prompt)):
            yield answer
            if place == 1 and sum(self.asked.values()) < 5:
                self.meanwhile()


@pytest.mark.parametrize("taken", [0, 5, 20])
def test_a_run_that_was_suspended_keeps_what_nobody_took_over(sqlite_store: CozoStore, taken: int) -> None:
    store = sqlite_store
    put(store, {f"k{i:02d}": f"word{i}" for i in range(40)})
    source = store.source(SourceSettings())
    [batch] = plan(store, source, 50).batches
    scope, other = Scope(RECIPE.id, batch.id, RunId("run")), Scope(RECIPE.id, batch.id, RunId("other"))
    engine = PausingEngine(slots=2)  # a window of eight records
    lost: set[str] = set()
    left_out = 0
    with Summarizer(store, source, engine, PROMPT, RECIPE, chunk_size=3, claim_seconds=900.0) as summarizer:

        def meanwhile() -> None:
            store.renewals.renew(summarizer._claims._owner, -1.0)  # the time is over
            free = [m for m in reversed(store.states.members(scope)) if m.state is None or m.state.state != "completed"]
            # Another host has not seen that this one is of its own kind: it knows of the owner what the ledger says.
            found = [m for m in free if m.state is None or not m.renewal or not m.renewal.is_valid]
            lost.update(key for key, _ in store.claims.claim(found[len(found) - taken :], OTHER, other))
            summarizer._claims._renewal.renew()

        engine.meanwhile = meanwhile
        members = store.states.members(scope)
        for chunk in summarizer.summarize(members, scope):
            found = store.chunks.commit(source, chunk, scope)
            assert found.taken_over <= lost
            left_out += len(found.taken_over)
    states = {key: entry["state"] for key, entry in entries(store).items()}
    assert len(lost) == taken
    assert {key for key, state in states.items() if state == "in_progress"} == lost, "they are the other run's"
    assert all(state == "completed" for key, state in states.items() if key not in lost)
    assert left_out <= 2 * engine.slots, "only what was being inferred at the pause"
    assert max(engine.asked.values()) == 1
    assert sum(engine.asked.values()) <= 40 - taken + left_out
    assert store.check() == []


def test_claims_that_could_not_be_released_are_known_to_other_hosts_as_lapsed(
    sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = sqlite_store
    put(store, {"k": "word"})
    [batch] = plan(store, store.source(SourceSettings()), 50).batches
    scope = Scope(RECIPE.id, batch.id, RunId("run"))
    claims = RunClaims(store, 900.0)

    def fail(owner: OwnerId, scope: Scope) -> int:
        raise StoreUnavailableError("the server does not answer")

    with pytest.raises(StoreUnavailableError), claims:
        claims.claim(store.states.members(scope), scope)
        monkeypatch.setattr(store.claims, "release", fail)
    [left] = store.claims.owners()
    assert left.renewal is not None, "without one it would count as alive for an hour"


def test_a_failed_record_that_a_run_has_claimed_meanwhile_is_not_released(
    sqlite_store: CozoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = sqlite_store
    put(store, {"a": "FAIL", "b": "FAIL too"})
    run(store, FakeEngine())
    read = list(store.states.failed("record", RECIPE.id))
    scope = Scope(RECIPE.id, read[0]["batch"], RunId("other"))
    store.claims.claim([m for m in store.states.members(scope) if m.version.key == "a"], OTHER, scope)
    monkeypatch.setattr(store.states, "failed", lambda relation, recipe: iter(read))
    release(store, "record", RECIPE.id)
    assert {key: entry["state"] for key, entry in entries(store).items()} == {"a": "in_progress", "b": "pending"}
    assert [m.state.retry_count for m in store.states.members(scope) if m.state and m.version.key == "b"] == [0]
