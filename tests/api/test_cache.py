"""The cache in a real Redis, and what is left of it when that is slow, closed or gone."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import pytest
import redis
from structlog.testing import capture_logs

from api.brief_redis import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, within
from api.cache import VALUE_BYTES, Cache
from cli.valkey import EmbeddedValkey
from tests.api.redis_outages import Hole, OwnUser, pause_is_over
from tests.memory.embedding.clocks import Clock


@pytest.fixture
def user(valkey: EmbeddedValkey) -> Iterator[OwnUser]:
    with contextlib.closing(OwnUser(valkey.url)) as made:
        yield made


@pytest.fixture
async def cache(user: OwnUser) -> AsyncIterator[Cache]:
    cache = Cache.connect(user.url)
    yield cache
    await cache.aclose()


@pytest.fixture
def key() -> str:
    """A key that no other test has."""
    return uuid.uuid4().hex


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which Redis is left alone."""
    clock = Clock()
    monkeypatch.setattr("api.brief_redis.time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def hole() -> Iterator[Hole]:
    with contextlib.closing(Hole()) as made:
        yield made


async def test_what_is_put_is_got_for_as_long_as_said(
    cache: Cache, user: OwnUser, key: str
) -> None:
    assert await cache.get(key) is None
    assert await cache.put(key, b"\0\xff", 100)
    assert await cache.get(key) == b"\0\xff"
    assert user.client.get(f"memory-cache:{key}") == b"\0\xff"
    assert 90 < user.client.ttl(f"memory-cache:{key}") <= 100


async def test_many_keep_their_order(cache: Cache, user: OwnUser, key: str) -> None:
    keys = [f"{key}-{number}" for number in range(5)]
    assert await cache.put_many({each: each.encode() for each in keys[1:4]}, 100)
    assert await cache.get_many(keys) == [None, *(each.encode() for each in keys[1:4]), None]
    assert user.client.ttl(f"memory-cache:{keys[2]}") > 90
    assert await cache.get_many([]) == []
    assert await cache.put_many({}, 100)


async def test_the_first_to_put_a_new_one_wins(cache: Cache, user: OwnUser, key: str) -> None:
    await cache.put_new(key, b"first", 100)
    await cache.put_new(key, b"second", 1)
    assert await cache.get(key) == b"first"
    assert user.client.ttl(f"memory-cache:{key}") > 90


async def test_what_is_too_large_is_not_kept(cache: Cache, key: str) -> None:
    assert await cache.put(key, bytes(VALUE_BYTES), 100)
    assert not await cache.put(f"{key}-larger", bytes(VALUE_BYTES + 1), 100)
    assert not await cache.put_many({f"{key}-larger": bytes(VALUE_BYTES + 1), key: b"now"}, 100)
    assert await cache.get_many([key, f"{key}-larger"]) == [b"now", None]


async def test_a_redis_that_is_gone_and_comes_back_is_two_lines(
    cache: Cache, user: OwnUser, key: str
) -> None:
    with capture_logs() as lines:
        assert await cache.put(key, b"kept", 100)
        with user.thrown_out():
            for _ in range(20):
                assert await cache.get(key) is None
                assert not await cache.put(key, b"lost", 100)
                await cache.put_new(key, b"lost", 100)
                pause_is_over(cache._redis)
        assert await cache.get(key) == b"kept"
        assert await cache.get(key) == b"kept"
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("warning", "cache_away"),
        ("info", "cache_back"),
    ]


async def test_a_closed_port_is_a_miss(closed_port: int, key: str) -> None:
    cache = Cache.connect(f"redis://127.0.0.1:{closed_port}/0")
    assert await cache.get_many([key, key]) == [None, None]
    assert not await cache.put(key, b"lost", 100)
    await cache.aclose()


async def test_cut_connections_are_not_noticed(cache: Cache, user: OwnUser, key: str) -> None:
    await cache.put(key, b"kept", 100)
    with user.thrown_out():
        pass
    assert await cache.get(key) == b"kept"


async def test_a_silent_redis_costs_a_moment_once(hole: Hole, key: str, clock: Clock) -> None:
    cache = Cache.connect(hole.url)
    started = time.monotonic()
    assert await cache.get(key) is None
    # It would be waited for without an end.
    assert 0.03 < time.monotonic() - started < 10
    for _ in range(100):
        assert await cache.get(key) is None
        assert not await cache.put(key, b"lost", 100)
    assert hole.calls() == 1
    await cache.aclose()


async def test_after_the_pause_one_call_tries_for_all(hole: Hole, key: str, clock: Clock) -> None:
    cache = Cache.connect(hole.url)
    await cache.get(key)
    assert hole.calls() == 1
    clock.now += FIRST_PAUSE_SECONDS
    assert await asyncio.gather(*(cache.get(key) for _ in range(20))) == [None] * 20
    assert hole.calls() == 2
    await cache.aclose()


async def test_the_pause_doubles_up_to_the_longest(hole: Hole, key: str, clock: Clock) -> None:
    cache = Cache.connect(hole.url)
    pauses = []
    for _ in range(8):
        await cache.get(key)
        pauses.append(cache._redis._left_alone_until - clock.now)
        clock.now += pauses[-1]
    expected = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert pauses == pytest.approx(expected)
    await cache.aclose()


async def test_many_failures_at_once_are_one(hole: Hole, key: str, clock: Clock) -> None:
    cache = Cache.connect(hole.url)
    with capture_logs() as lines:
        assert await asyncio.gather(*(cache.get(key) for _ in range(200))) == [None] * 200
    assert [line["event"] for line in lines] == ["cache_away"]
    assert cache._redis._left_alone_until - clock.now == pytest.approx(FIRST_PAUSE_SECONDS)
    await cache.aclose()


async def test_a_busy_process_does_not_take_redis_for_gone(cache: Cache, key: str) -> None:
    await cache.put(key, b"kept", 100)
    calling = asyncio.create_task(cache.get(key))
    while not calling.done():
        await asyncio.sleep(0)
        time.sleep(0.06)  # noqa: ASYNC251 - a round of the loop takes longer than a call may
    assert await calling == b"kept"


async def test_a_crowd_opens_few_connections(cache: Cache, user: OwnUser, key: str) -> None:
    await cache.put(key, b"kept", 100)
    assert await asyncio.gather(*(cache.get(key) for _ in range(500))) == [b"kept"] * 500
    clients = user.client.client_list()
    assert 1 < len([each for each in clients if each["user"] == user.name]) <= 64


async def test_a_caller_that_is_cancelled_is_no_failure(hole: Hole, key: str) -> None:
    cache = Cache.connect(hole.url)
    with capture_logs() as lines:
        calling = asyncio.create_task(cache.get(key))
        await hole.call()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
    assert lines == []
    await cache.aclose()


async def test_nobody_gets_the_answer_of_one_who_was_cancelled(
    user: OwnUser, cache: Cache, key: str
) -> None:
    await cache.put_many({f"{key}-left": b"left", f"{key}-stays": b"stays"}, 100)
    for rounds in range(40):
        fresh = Cache.connect(user.url) if rounds % 2 else cache
        calling = asyncio.create_task(fresh.get(f"{key}-left"))
        for _ in range(rounds // 2):
            await asyncio.sleep(0)
        calling.cancel()
        assert await fresh.get(f"{key}-stays") == b"stays"
        assert calling.cancelled() or calling.result() == b"left"
        if fresh is not cache:
            await fresh.aclose()


async def test_an_answer_to_what_was_asked_before_ends_no_pause(cache: Cache, key: str) -> None:
    answered = asyncio.Event()

    async def refused() -> None:
        raise redis.ConnectionError

    before = asyncio.create_task(cache._redis.ask(answered.wait))
    await asyncio.sleep(0)
    assert await cache._redis.ask(refused) is None
    answered.set()
    assert await before is True
    assert not await cache.put(key, b"lost", 100)


@pytest.mark.parametrize("end", ["late", "cancelled"])
async def test_a_call_that_is_given_up_is_ended_first(end: str) -> None:
    ended = False

    async def endless() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True

    calling = asyncio.create_task(within(0.01, endless()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if end == "cancelled":
        calling.cancel()
    with pytest.raises(TimeoutError if end == "late" else asyncio.CancelledError):
        await calling
    assert ended
