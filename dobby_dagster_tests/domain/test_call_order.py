"""Callees come before their callers, and a cycle is one group."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.call_order import callees_first
from dobby_dagster_tests.helpers.steps import steps

KEYS = st.lists(st.sampled_from("abcdefgh"), unique=True)
EDGES = st.lists(st.tuples(st.sampled_from("abcdefghxy"), st.sampled_from("abcdefghxy")), max_size=20)


def reached(start: str, edges: list[tuple[str, str]]) -> set[str]:
    found, left = {start}, [start]
    while left:
        at = left.pop()
        new = {end for begin, end in edges if begin == at} - found
        found |= new
        left += new
    return found


@given(KEYS, EDGES)
def test_each_group_calls_only_itself_and_earlier_ones(keys: list[str], edges: list[tuple[str, str]]) -> None:
    groups = callees_first(keys, edges)
    assert sorted(key for group in groups for key in group) == sorted(keys)
    number = {key: at for at, group in enumerate(groups) for key in group}
    inside = [(start, end) for start, end in edges if start in number and end in number]
    assert all(number[end] <= number[start] for start, end in inside)
    for one in keys:
        together = {other for other in reached(one, inside) if one in reached(other, inside)}
        assert set(groups[number[one]]) == together


@given(KEYS)
def test_without_calls_the_order_is_kept(keys: list[str]) -> None:
    assert callees_first(keys, []) == [[key] for key in keys]


def chain_and_cycle(count: int) -> None:
    keys = [str(n) for n in range(count)]
    chain = list(pairwise(keys))
    assert callees_first(keys, chain) == [[key] for key in reversed(keys)]
    assert callees_first(keys, [*chain, (keys[-1], keys[0])]) == [keys]


def test_a_long_chain_and_a_long_cycle_need_no_recursion() -> None:
    chain_and_cycle(100_000)


def test_a_chain_twice_as_long_takes_twice_as_many_steps() -> None:
    assert steps(lambda: chain_and_cycle(2_000)) < 2.2 * steps(lambda: chain_and_cycle(1_000))
