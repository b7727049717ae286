"""Windows: no more than the limit in any of them, all or none, and told as it is."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.limits import Hit, Limit, read_limits
from memory.windows import MICROSECONDS, PARTS, Windows
from tests.memory.hits import A_MINUTE, LIMITS, Step, steps

(FIVE_A_MINUTE,) = read_limits("5/minute")


def hits(cost: int = 1, key: str = "a:1", limit: Limit = FIVE_A_MINUTE) -> list[Hit]:
    return [Hit(key, limit, cost)]


Admitted = list[tuple[int, Hit]]


def admitted(windows: Windows, course: Sequence[Step]) -> Admitted:
    """The hits that were let in, each with its time."""
    return [
        (now, hit)
        for now, lot in course
        if windows.admit(lot, now).retry_after is None
        for hit in lot
    ]


def most_in_a_window(counted: Admitted, key: str, limit: Limit) -> int:
    """The most that came in any window of the length of `limit`, both of its ends included."""
    came = [(now, hit.cost) for now, hit in counted if hit.key == key and hit.limit == limit]
    length = limit.seconds * MICROSECONDS
    return max(
        (sum(cost for now, cost in came if start <= now <= start + length) for start, _ in came),
        default=0,
    )


@given(steps())
def test_no_window_holds_more_than_the_limit(course: list[Step]) -> None:
    counted = admitted(Windows(), course)
    for key in {hit.key for _, hit in counted}:
        for limit in LIMITS:
            assert most_in_a_window(counted, key, limit) <= limit.amount


@given(steps())
def test_one_waits_no_longer_than_for_the_window_and_a_part_of_it(course: list[Step]) -> None:
    windows = Windows()
    counted: Admitted = []
    for now, lot in course:
        standing = windows.admit(lot, now)
        if standing.retry_after is None:
            counted += [(now, hit) for hit in lot]
            continue
        limit = standing.hit.limit
        # What may still count, at the most: the window and one part of it.
        since = now - limit.seconds * MICROSECONDS * (PARTS + 1) // PARTS
        used = sum(
            hit.cost for then, hit in counted if hit.window == standing.hit.window and then > since
        )
        # Hits of one lot may count together.
        cost = sum(hit.cost for hit in lot if hit.window == standing.hit.window)
        assert used + max(cost, 1) > limit.amount


@given(steps())
def test_a_lot_counts_as_a_whole_or_not_at_all(course: list[Step]) -> None:
    refusing, without = Windows(), Windows()
    for now, lot in course:
        if refusing.admit(lot, now).retry_after is None:
            without.admit(lot, now)
        # The refused have left nothing: all stands as if they had never come.
        for hit in lot:
            look = [hit._replace(cost=0)]
            assert refusing.admit(look, now) == without.admit(look, now)


@given(steps())
def test_what_is_told_is_true(course: list[Step]) -> None:
    windows = Windows()
    for now, lot in course:
        standing = windows.admit(lot, now)
        looks = {hit.window: windows.admit([hit._replace(cost=0)], now) for hit in lot}
        assert standing.remaining == looks[standing.hit.window].remaining
        assert 0 <= standing.remaining <= standing.limit
        if standing.retry_after is None:
            assert standing.share == min(look.share for look in looks.values())
    look = [standing.hit._replace(cost=0)]
    reset = now + round(standing.reset_seconds * MICROSECONDS)
    if reset > now:
        assert windows.admit(look, reset - 1).remaining < standing.limit
    after = windows.admit(look, reset)
    assert (after.remaining, after.reset_seconds) == (standing.limit, 0)


@given(steps(), st.integers(1, 6))
def test_who_waits_as_told_is_let_in_and_no_moment_before(course: list[Step], cost: int) -> None:
    windows = Windows()
    admitted(windows, course)
    now = course[-1][0]
    standing = windows.admit(hits(cost), now)
    if cost > FIVE_A_MINUTE.amount:
        assert standing.never
    elif standing.retry_after is not None:
        then = now + round(standing.retry_after * MICROSECONDS)
        early = windows.admit(hits(cost), then - 1)
        assert early.retry_after == pytest.approx(1 / MICROSECONDS)
        assert windows.admit(hits(cost), then).retry_after is None


def test_a_window_slides() -> None:
    windows = Windows()
    start = 10**12 * A_MINUTE
    assert windows.admit(hits(3), start).remaining == 2
    assert windows.admit(hits(2), start + A_MINUTE // 2).remaining == 0
    refused = windows.admit(hits(4), start + A_MINUTE // 2)
    assert refused.remaining == 0
    assert refused.retry_after == pytest.approx(60 * (PARTS + 1) / PARTS)
    # Three go, two are still there.
    later = windows.admit(hits(3), start + A_MINUTE * (PARTS + 1) // PARTS)
    assert (later.remaining, later.retry_after) == (0, None)


def test_the_limit_nearest_its_end_is_told() -> None:
    windows = Windows()
    both = [Hit("a:1", Limit(100, 60, "100/minute"), 1), Hit("b:1", Limit(10, 60, "10/minute"), 1)]
    standing = windows.admit(both, 0)
    assert (standing.hit.key, standing.remaining) == ("b:1", 9)
    assert windows.admit(both[:1], 0).remaining == 98


def test_the_limit_that_refuses_longest_is_told() -> None:
    windows = Windows()
    lot = [Hit("a:1", Limit(1, 1, "1/second")), Hit("b:1", Limit(1, 60, "1/minute"))]
    for order in (lot, lot[::-1]):
        windows.admit(order, 0)
        standing = windows.admit(order, 0)
        assert standing.hit.key == "b:1"
        assert standing.retry_after == pytest.approx(60 * (PARTS + 1) / PARTS)


def test_a_look_counts_nothing_and_is_refused_when_all_is_used_up() -> None:
    windows = Windows()
    for _ in range(10):
        assert windows.admit(hits(0), 0).remaining == 5
    assert len(windows) == 0
    windows.admit(hits(5), 0)
    assert windows.admit(hits(0), 0).retry_after == pytest.approx(60 * (PARTS + 1) / PARTS)


def test_more_than_the_limit_never_passes() -> None:
    standing = Windows().admit([*hits(1, "b:1"), *hits(6)], 0)
    assert standing.never
    assert standing.retry_after == math.inf
    assert (standing.hit.key, standing.remaining) == ("a:1", 5)


def test_hits_of_one_lot_that_count_together_are_one() -> None:
    windows = Windows()
    assert windows.admit(hits(3) + hits(3), 0).never
    assert windows.admit(hits(2) + hits(3), 0).remaining == 0


def test_what_is_remembered_is_bounded() -> None:
    windows = Windows(most=3)
    for key in "abc":
        windows.admit(hits(5, key), 0)
    windows.admit(hits(1, "d"), 0)
    assert len(windows) == 3
    assert windows.admit(hits(0, "a"), 0).retry_after is None
    assert all(windows.admit(hits(1, key), 0).retry_after for key in "bc")


def test_a_window_keeps_few_parts_however_many_come() -> None:
    windows = Windows()
    many = Limit(10**9, 60, "1000000000/minute")
    for step in range(10_000):
        windows.admit(hits(1, "a", many), step * A_MINUTE // 5_000)
    (window,) = windows._windows.values()
    assert len(window._parts) <= PARTS + 1
    assert window.total == sum(count for _, count in window._parts)
