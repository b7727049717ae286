"""When a process asks for new statistics: at once, and then seldom."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tasks.growth import GROWTH, GROWTH_MIN, Growth


def asked_at(sizes: list[int]) -> list[int]:
    """After how many messages `Growth` asks, when they come in portions of these sizes."""
    growth = Growth()
    return [sum(sizes[: place + 1]) for place, size in enumerate(sizes) if growth.add("a", size)]


def test_the_first_messages_ask() -> None:
    assert asked_at([1]) == [1]


def test_a_young_tenant_asks_after_so_many_messages() -> None:
    assert GROWTH_MIN == 250
    assert asked_at([1] * 600)[:3] == [1, 252, 528]


def test_a_large_tenant_asks_after_a_share_of_its_messages() -> None:
    assert GROWTH == 0.1
    growth = Growth()
    assert growth.add("a", 1_000_000)
    assert not growth.add("a", 100_249)
    assert growth.add("a", 1)


def test_tenants_grow_by_themselves() -> None:
    growth = Growth()
    assert growth.add("a", 1_000)
    assert growth.add("b", 1)
    assert not growth.add("a", 100)
    assert not growth.add("b", 100)


def test_each_process_asks_anew() -> None:
    assert Growth().add("a", 1)
    assert Growth().add("a", 1)


@given(st.lists(st.integers(1, 2_000), max_size=200))
def test_between_two_askings_is_the_growth_that_is_worth_it(sizes: list[int]) -> None:
    asked = asked_at(sizes)
    for before, after in pairwise(asked):
        due = before * (1 + GROWTH) + GROWTH_MIN
        assert due <= after < due + max(sizes)
    if asked:
        assert sum(sizes) < asked[-1] * (1 + GROWTH) + GROWTH_MIN + max(sizes)
