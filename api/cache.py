"""Redis for what may be lost: it is asked for 50 ms at most, and a failure is a miss."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tasks.kept_answers import PREFIX

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

# What a request may lose to a Redis that does not answer.
CALL_SECONDS = 0.05
# Short at first: a machine that is short of processors is not a Redis that is gone.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
VALUE_BYTES = 256 * 1024
# A call on a new connection takes fifteen rounds of the event loop, and a slice is one or more.
SLICES = 20
# A call takes a fraction of a millisecond; without a bound a crowd would open a connection each.
CONNECTIONS = 8


class Cache:
    """Values by key, in a Redis that may be slow, full or gone. Safe to share among tasks.

    No call raises for what Redis does. After a failure Redis is left alone for 0.1 s, then
    one call tries it while the others still go on without, and when that fails too the pause
    doubles, up to five seconds.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._left_alone_until = 0.0
        # Above 0 from a failure until a call succeeds.
        self._pause = 0.0

    @classmethod
    def connect(cls, url: str) -> "Cache":
        """The cache in the Redis at `url`; connections are made when they are needed."""
        redis = Redis.from_url(
            url,
            # Every call is bounded as a whole; these would count the delays of the event loop.
            socket_timeout=None,
            socket_connect_timeout=None,
            # Once, and at once: a connection that was cut while nobody used it is no failure.
            retry=Retry(NoBackoff(), 1),
            # Of the newer protocol nothing is used, and to agree on it costs each new connection
            # some of its time.
            protocol=2,
            driver_info=None,
        )
        return cls(redis)

    async def aclose(self) -> None:
        """Close the connections."""
        with contextlib.suppress(RedisError, OSError):
            await within(CALL_SECONDS, self._redis.aclose())

    async def get(self, key: str) -> bytes | None:
        """The value of `key`; None when there is none, or no answer."""
        return (await self.get_many([key]))[0]

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The value of each key as of one moment, or None; all None when there is no answer."""
        nothing: list[bytes | None] = [None] * len(keys)
        if not keys:
            return nothing
        names = [PREFIX + key for key in keys]
        found: list[bytes | None] | None = await self._ask(lambda: self._redis.mget(names))
        return nothing if found is None else found

    async def put(self, key: str, value: bytes, ttl_seconds: int) -> bool:
        """Keep `value` for `ttl_seconds`; whether it is kept. One over 256 KiB is not."""
        return await self.put_many({key: value}, ttl_seconds)

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: int) -> bool:
        """Keep `values` for `ttl_seconds` from now; whether all are kept."""
        small = {key: value for key, value in values.items() if len(value) <= VALUE_BYTES}
        if not small:
            return not values
        pipeline = self._redis.pipeline(transaction=False)
        for key, value in small.items():
            pipeline.set(PREFIX + key, value, ex=ttl_seconds)
        done = await self._ask(pipeline.execute)
        return done is not None and len(small) == len(values)

    async def put_new(self, key: str, value: bytes, ttl_seconds: int) -> None:
        """Keep `value` for `ttl_seconds` unless `key` has one already."""
        await self._ask(lambda: self._redis.set(PREFIX + key, value, ex=ttl_seconds, nx=True))

    async def _ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """What Redis answers to `call`; None when it fails or is left alone."""
        async with self._slots:
            # Looked at here and no earlier: Redis may have failed while this call had to wait.
            if time.monotonic() < self._left_alone_until:
                return None
            on_trial = self._pause > 0
            if on_trial:
                self._left_alone_until = time.monotonic() + self._pause
            try:
                answer = await within(CALL_SECONDS, call())
            except (RedisError, OSError) as error:
                self._leave_alone(error, on_trial)
                return None
            # Not whoever else is answered: what was asked before a failure says nothing of now.
            if on_trial and self._pause > 0:
                self._pause = self._left_alone_until = 0.0
                log.info("cache_back")
            return answer

    def _leave_alone(self, error: Exception, on_trial: bool) -> None:
        if self._pause == 0:
            log.warning("cache_away", reason=type(error).__name__)
            self._pause = FIRST_PAUSE_SECONDS
        elif on_trial:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        else:
            # One of many that were under way when the first of them failed.
            return
        self._left_alone_until = time.monotonic() + self._pause


async def within(seconds: float, call: Awaitable[Answer]) -> Answer:
    """What `call` gives; raises `TimeoutError` when the other side takes longer than `seconds`.

    The time is counted in slices, and a delay of this process, whose event loop is busy or which
    gets no processor, counts as one slice. Otherwise Redis would seem gone under load, just when
    its answers save most.
    """
    task = asyncio.ensure_future(call)
    try:
        for _ in range(SLICES):
            await asyncio.wait({task}, timeout=seconds / SLICES)
            if task.done():
                return task.result()
        raise TimeoutError
    finally:
        # Until it has closed its connection, so that no more are open than there are calls.
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
