"""The windows in Redis: as those of a process, at whatever time, and no longer than needed."""

import time
import uuid
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from redis.asyncio import Redis

from api import shared_windows
from api.shared_windows import DIGEST, SCRIPT, admit_in_redis
from cli.valkey import EmbeddedValkey
from memory.limits import Hit, Limit, merged, read_limits
from memory.windows import MICROSECONDS, PARTS, Windows
from tests.memory.hits import HITS, Step, steps

CLOCK = "clock-of-a-test"
(THREE_A_MINUTE,) = read_limits("3/minute")


@pytest.fixture(scope="module")
async def redis(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    client = Redis.from_url(valkey.url, protocol=2)
    yield client
    await client.aclose()


@pytest.fixture
def key() -> str:
    """A key that no other test has."""
    return f"a:{uuid.uuid4().hex}"


@pytest.fixture
def own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script takes the time from a key, in place of the clock of Redis."""
    script = SCRIPT.replace("redis.call('TIME')", f"{{0, redis.call('GET', '{CLOCK}')}}")
    assert script != SCRIPT
    monkeypatch.setattr(shared_windows, "SCRIPT", script)
    monkeypatch.setattr(shared_windows, "DIGEST", "0" * 40)


def own(hits: list[Hit]) -> list[Hit]:
    """`hits` of keys that no other example has."""
    run = uuid.uuid4().hex
    return [hit._replace(key=f"{hit.key}:{run}") for hit in hits]


@pytest.mark.usefixtures("own_clock")
@effort(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps(), st.integers(1, 5))
async def test_they_decide_as_a_process_does(
    redis: Redis, course: list[Step], together: int
) -> None:
    windows, run = Windows(), uuid.uuid4().hex
    for start in range(0, len(course), together):
        group = course[start : start + together]
        # Lots of one call come at one time.
        now = group[0][0]
        await redis.set(CLOCK, now, px=60_000)
        lots = [merged([hit._replace(key=f"{hit.key}:{run}") for hit in lot]) for _, lot in group]
        told, standings = await admit_in_redis(redis, lots)
        assert told == now
        assert standings == [windows.admit(lot, now) for lot in lots]


async def test_they_decide_as_a_process_does_at_the_time_of_redis(redis: Redis, key: str) -> None:
    windows = Windows()
    limits = read_limits("5/second, 7 per 2 seconds")
    outcomes, times = [], []
    started = time.monotonic()
    while time.monotonic() - started < 2.5:
        lots = [[Hit(key, limit) for limit in limits], [Hit(key, limits[0], 2)]]
        now, standings = await admit_in_redis(redis, lots)
        assert abs(now / MICROSECONDS - time.time()) < 5
        assert standings == [windows.admit(lot, now) for lot in lots]
        outcomes += [standing.retry_after is None for standing in standings]
        times.append(now)
    windows = 1 + (times[-1] - times[0]) // (2 * MICROSECONDS)
    assert 7 < outcomes.count(True) <= windows * 7
    assert outcomes.count(False) > 10


@given(st.lists(HITS, min_size=1, max_size=3))
@effort(max_examples=20, deadline=None)
async def test_whoever_is_refused_writes_nothing(redis: Redis, lot: list[Hit]) -> None:
    hits = merged(own(lot))
    never = Hit(f"c:{uuid.uuid4().hex}", THREE_A_MINUTE, 4)
    _, (standing,) = await admit_in_redis(redis, [[*hits, never]])
    assert standing.never
    assert not await redis.exists(*(f"limits:{hit.window}" for hit in [*hits, never]))


async def test_a_look_writes_nothing(redis: Redis, key: str) -> None:
    look = Hit(key, THREE_A_MINUTE, 0)
    _, (standing,) = await admit_in_redis(redis, [[look]])
    assert (standing.remaining, standing.reset_seconds, standing.retry_after) == (3, 0, None)
    assert not await redis.exists(f"limits:{look.window}")


async def test_a_key_outlives_its_window_by_little(redis: Redis, key: str) -> None:
    for limit in (
        THREE_A_MINUTE,
        Limit(5, 20, "5 per 20 seconds"),
        Limit(10**12, 3600, "very much"),
    ):
        hit = Hit(key, limit)
        now, (standing,) = await admit_in_redis(redis, [[hit]])
        lives = await redis.pexpiretime(f"limits:{hit.window}") - now / 1_000
        assert standing.reset_seconds * 1_000 <= lives
        assert lives <= limit.seconds * 1_000 * (PARTS + 2) / PARTS + 2


async def test_a_window_takes_less_than_a_kilobyte(redis: Redis, key: str, own_clock: None) -> None:
    hit = Hit(key, Limit(10**9, 60, "very much"), 10**5)
    for part in range(3 * PARTS):
        await redis.set(CLOCK, 10**15 + part * 60 * MICROSECONDS // PARTS, px=60_000)
        await admit_in_redis(redis, [[hit]] * 2)
    assert await redis.strlen(f"limits:{hit.window}") < 1_000


async def test_when_the_clock_goes_back_nobody_waits_longer_than_a_window(
    redis: Redis, key: str, own_clock: None
) -> None:
    hit = Hit(key, THREE_A_MINUTE)
    now = 10**15
    for back in (0, 3_600, 2 * 3_600):
        await redis.set(CLOCK, now - back * MICROSECONDS, px=60_000)
        _, (standing,) = await admit_in_redis(redis, [[hit]])
        assert standing.retry_after is None
        assert standing.reset_seconds <= 60 * (PARTS + 1) / PARTS
    _, (standing,) = await admit_in_redis(redis, [[hit]])
    assert standing.retry_after is not None
    assert 60 <= standing.retry_after <= 60 * (PARTS + 1) / PARTS


async def test_a_redis_that_has_forgotten_the_script_is_told_it_again(
    redis: Redis, key: str
) -> None:
    hit = Hit(key, THREE_A_MINUTE)
    for remaining in (2, 1, 0):
        await redis.script_flush()
        _, (standing,) = await admit_in_redis(redis, [[hit]])
        assert standing.remaining == remaining
        assert await redis.script_exists(DIGEST) == [True]
