"""A misspelt key leads to those that are like it, part by part."""

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from dobby_dagster.domain.near_keys import near_keys

KEYS = [
    "dobby/cli/record_lookup.py", "dobby/cli/record_lookup.py::found_key", "dobby/cli/record_lookup.py::typed",
    "dobby/cli/commands/show.py::show", "dobby/http/client.py::Client", "dobby/http/client.py::Client.send",
    "food/bar.py::start", "food/bar.py::stop", "food/bar.py::Stream", "food/bar.py::Stream.read", "1", "",
]  # fmt: skip
NAME = st.text("abcdefgh_", min_size=6, max_size=14)
KEY = st.builds("{}/{}.py::{}".format, NAME, NAME, NAME)


def test_a_slip_in_one_part_leads_to_the_key() -> None:
    for wanted, found in {
        "dobby/cli/recrd_lookup.py::found_key": ["dobby/cli/record_lookup.py::found_key"],
        "dobby/cli/record_lookup.py::found_kye": ["dobby/cli/record_lookup.py::found_key"],
        "found_kye": ["dobby/cli/record_lookup.py::found_key"],
        "http/Clinet.snd": ["dobby/http/client.py::Client.send"],
        "recrd_loo": [
            "dobby/cli/record_lookup.py", "dobby/cli/record_lookup.py::found_key", "dobby/cli/record_lookup.py::typed",
        ],
        "foo/ba": ["food/bar.py::Stream", "food/bar.py::start", "food/bar.py::stop"],
    }.items():  # fmt: skip
        assert near_keys(wanted, KEYS) == found


def test_what_is_like_nothing_leads_nowhere() -> None:
    assert [near_keys(wanted, KEYS) for wanted in ("", "::", "zzz", "src/zzz.rs::qqq", "9" * 5_000)] == [[]] * 5


@given(st.sets(KEY, min_size=1, max_size=20), st.text(max_size=40), st.integers(1, 4))
def test_at_most_so_many_keys_that_there_are(keys: set[str], wanted: str, most: int) -> None:
    found = near_keys(wanted, keys, most)
    assert len(set(found)) == len(found) <= most
    assert set(found) <= keys


@given(st.sets(KEY, min_size=1, max_size=20), st.data())
def test_a_key_that_lacks_a_letter_is_like_itself(keys: set[str], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(keys)))
    letters = [place for place, letter in enumerate(key) if letter not in "/.:"]
    at = data.draw(st.sampled_from(letters))
    wanted = key[:at] + key[at + 1 :]
    others = {part for other in keys for part in re.split(r"[/.:]+", other)}
    assume(others.isdisjoint({*re.split(r"[/.:]+", wanted)} - {*re.split(r"[/.:]+", key)}))
    assert key in near_keys(wanted, keys, len(keys))
