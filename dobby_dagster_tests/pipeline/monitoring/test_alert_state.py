"""Alerts: each is sent once when it begins and once when it is over, whatever fails or restarts in between."""

from collections import Counter, defaultdict
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from dobby_dagster.pipeline.monitoring.alert import FLAP_SECONDS, LONGEST_QUIET_SECONDS, QUIET_SECONDS
from dobby_dagster.pipeline.monitoring.alert_outbox import LONGEST_WAIT_SECONDS, MOST_UNDELIVERED
from dobby_dagster.pipeline.monitoring.alert_state import GROWTH_SECONDS, MOST_ALERTS_OF_A_KIND, AlertState
from dobby_dagster.pipeline.monitoring.conditions import Condition, Kind, Reading
from dobby_dagster.pipeline.monitoring.notification import Notification

TICK = 20.0
CHANNELS = ("webhook", "command", "slack")
SUBJECTS = [
    Condition(Kind.DISK, "/", "full"), Condition(Kind.STALL, "run-1", "stalls"), Condition(Kind.STALL, "run-2", "stalls"),
]  # fmt: skip


class System:
    """A state that is stored after each tick, and what each channel got."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        self.now = 1_000_000.0
        self.got: dict[str, list[Notification]] = defaultdict(list)

    def tick(self, reading: Reading, down: frozenset[str] = frozenset(), *, dies: bool = False) -> list[Notification]:
        state = AlertState.load(self.cursor)
        self.now += TICK
        for channel in CHANNELS:
            while (notification := state.outbox.next_for(channel, self.now)) is not None:
                if channel in down:
                    state.outbox.failed(channel, self.now, "no route to host")
                else:
                    self.got[channel].append(notification)
                    state.outbox.delivered(channel, notification)
        new = state.update(reading, CHANNELS, self.now)
        if not dies:
            self.cursor = state.dump()
        return new

    def settle(self, reading: Reading) -> None:
        """Long enough for each quiet time and each wait, with all channels up."""
        for _ in range(int((LONGEST_QUIET_SECONDS + LONGEST_WAIT_SECONDS) / TICK) + 5):
            self.tick(reading)

    def history(self, channel: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for notification in self.got[channel]:
            found[notification.id].append(notification.status)
        return found


steps = st.lists(
    st.tuples(
        st.frozensets(st.sampled_from(range(len(SUBJECTS)))),
        st.frozensets(st.sampled_from([Kind.DISK, Kind.STALL]), max_size=2),
        st.frozensets(st.sampled_from(CHANNELS)),
        st.integers(1, 12),
    ),
    max_size=12,
)


def reading_of(present: frozenset[int], unknown: frozenset[Kind]) -> Reading:
    return Reading([SUBJECTS[i] for i in sorted(present) if SUBJECTS[i].kind not in unknown], unknown)


@settings(max_examples=40)
@given(steps, st.frozensets(st.sampled_from(range(len(SUBJECTS)))))
def test_every_channel_gets_each_begin_and_each_end_once_and_in_order(
    moves: list[tuple[frozenset[int], frozenset[Kind], frozenset[str], int]], last: frozenset[int]
) -> None:
    system, expected = System(), defaultdict(list)
    for present, unknown, down, ticks in moves:
        for _ in range(ticks):
            for new in system.tick(reading_of(present, unknown), down):
                expected[new.id].append(new.status)
    final = reading_of(last, frozenset())
    before = AlertState.load(system.cursor)
    system.settle(final)
    for channel in CHANNELS:
        for identity, statuses in system.history(channel).items():
            assert statuses[: len(expected[identity])] == expected[identity]
            assert all(a != b for a, b in pairwise(["resolved", *statuses])), "open and resolved alternate"
            wanted = "open" if identity in {c.identity for c in final.conditions} else "resolved"
            assert statuses[-1] == wanted
        assert system.history(channel) == system.history("webhook"), "a channel that failed does not affect the others"
        assert {c.identity for c in final.conditions} <= system.history(channel).keys()
    assert not AlertState.load(system.cursor).outbox.undelivered
    assert before.outbox.dropped == 0


@settings(max_examples=40)
@given(steps, st.sets(st.integers(0, 100), max_size=10))
def test_a_process_that_dies_before_the_cursor_is_stored_repeats_and_loses_nothing(
    moves: list[tuple[frozenset[int], frozenset[Kind], frozenset[str], int]], deaths: set[int]
) -> None:
    system, count = System(), 0
    for present, unknown, down, ticks in moves:
        for _ in range(ticks):
            system.tick(reading_of(present, unknown), down, dies=count in deaths)
            count += 1
    system.settle(Reading([SUBJECTS[0]]))
    for channel in CHANNELS:
        for identity, statuses in system.history(channel).items():
            assert statuses[0] == "open"
            assert statuses[-1] == ("open" if identity == SUBJECTS[0].identity else "resolved")
        repeated = sum(a == b for statuses in system.history(channel).values() for a, b in pairwise(statuses))
        assert repeated <= len(deaths) * len(SUBJECTS)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 200), min_size=20, max_size=60))
def test_a_condition_that_comes_and_goes_is_sent_a_few_times_an_hour(lengths: list[int]) -> None:
    system, present, opened = System(), True, []
    for ticks in lengths:
        for _ in range(ticks):
            opened += [new.at for new in system.tick(Reading(SUBJECTS[:1] if present else [])) if new.status == "open"]
        present = not present
    most = max(sum(at <= other < at + FLAP_SECONDS for other in opened) for at in opened)
    assert most <= 8


def test_a_short_absence_is_no_end() -> None:
    system = System()
    on, off = Reading(SUBJECTS[:1]), Reading([])
    assert [len(system.tick(reading)) for reading in (on, off, on, off, on, on)] == [1, 0, 0, 0, 0, 0]


def test_what_can_not_be_checked_neither_begins_nor_ends() -> None:
    system = System()
    system.tick(Reading(SUBJECTS[:1]))
    for _ in range(50):
        assert system.tick(Reading([], {Kind.DISK})) == []
    assert [new.status for _ in range(3) for new in system.tick(Reading([]))] == ["resolved"]


def test_a_condition_can_have_to_last_before_it_is_sent() -> None:
    locked = Condition(Kind.DATABASE, "db", "locked", after_seconds=100)
    system = System()
    sent = [len(system.tick(Reading([locked]))) for _ in range(8)]
    assert sent == [0, 0, 0, 0, 0, 1, 0, 0]
    short = System()
    assert [short.tick(Reading([locked] if i < 3 else [])) for i in range(10)] == [[]] * 10


def test_what_grows_is_sent_again_and_resolved_once() -> None:
    system = System()
    sent = []
    for level in [1, *range(2, 200), 200, 0, 0, 0]:
        held = Condition(Kind.QUARANTINE, "record", f"{level} in quarantine", level=level)
        sent += [(new.status, new.title) for new in system.tick(Reading([held] if level else []))]
    grown = [title for status, title in sent if status == "open"]
    assert len(grown) == 1 + int(199 * TICK // GROWTH_SECONDS)
    assert [status for status, _ in sent].count("resolved") == 1
    again = Condition(Kind.QUARANTINE, "record", "1", level=200)
    system.tick(Reading([again]))
    assert not any(system.tick(Reading([again])) for _ in range(200)), "the same level is not growth"


def test_what_waits_keeps_its_age_and_is_bounded() -> None:
    system = System()
    system.tick(Reading(SUBJECTS[:1]), frozenset(CHANNELS))
    at = system.now
    for _ in range(100):
        system.tick(Reading(SUBJECTS[:1]), frozenset(CHANNELS))
    system.settle(Reading(SUBJECTS[:1]))
    assert [sent.at for sent in system.got["webhook"]] == [at]
    flood = System()
    for round_ in range(300):
        failures = [Condition(Kind.RUN_FAILURE, f"run-{round_}-{i}", "x" * 5_000, "y" * 50_000) for i in range(50)]
        flood.tick(Reading(failures if round_ % 4 == 0 else []), frozenset(CHANNELS))
        assert len(flood.cursor or "") < 400_000
    state = AlertState.load(flood.cursor)
    assert len(state.outbox.undelivered) == MOST_UNDELIVERED
    assert state.outbox.dropped > 0
    assert Counter(alert.kind for alert in state.open_alerts())[Kind.RUN_FAILURE] <= MOST_ALERTS_OF_A_KIND


def test_a_channel_that_fails_is_tried_less_and_less_often() -> None:
    state, tried = AlertState(), []
    state.update(Reading(SUBJECTS[:1]), ["webhook"], 0.0)
    for now in range(0, 7_200, 5):
        if state.outbox.next_for("webhook", now):
            tried.append(now)
            state.outbox.failed("webhook", now, "down")
    waits = [b - a for a, b in pairwise(tried)]
    assert waits[:6] == [15, 30, 60, 120, 240, 480]
    assert max(waits) == LONGEST_WAIT_SECONDS
    notification = state.outbox.next_for("webhook", tried[-1] - 100_000)
    assert notification is not None, "a clock that is set back does not block a channel"
    state.outbox.delivered("webhook", notification)
    assert state.outbox.outages == {}


def test_a_channel_that_is_no_longer_configured_is_forgotten() -> None:
    state = AlertState()
    state.update(Reading(SUBJECTS[:1]), ["webhook"], 0.0)
    state.outbox.failed("webhook", 0.0, "down")
    state.update(Reading(SUBJECTS[:1]), ["slack"], 20.0)
    assert (state.outbox.undelivered, state.outbox.outages) == ([], {})


def test_a_damaged_cursor_is_a_new_state() -> None:
    assert AlertState.load("{nonsense") == AlertState.load(None) == AlertState()
    assert AlertState().dump() == "{}", "nothing is stored where nothing is open"


def test_the_quiet_time_is_short_at_first() -> None:
    assert QUIET_SECONDS + 2 * TICK < 90


def test_a_folder_whose_name_is_not_utf_8_is_an_alert_like_others() -> None:
    folder = "/data/\udcff"
    reading = Reading([Condition(Kind.DISK, folder, f"the disk of {folder} is nearly full")])
    state = AlertState()
    [sent] = state.update(reading, CHANNELS, 0.0)
    assert (sent.subject, sent.id) == ("/data/\\udcff", "disk:/data/\\udcff")
    state = AlertState.load(state.dump())
    assert state.update(reading, CHANNELS, TICK) == [], "it is known"
    assert len(state.open_alerts()) == 1
