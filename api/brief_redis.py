"""A Redis that is asked for 50 ms at most, and left alone for a while after it has failed."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tasks.redis_clients import async_redis_client, close

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

# What a request may lose to a Redis that does not answer.
CALL_SECONDS = 0.05
# Short at first: a machine that is short of processors is not a Redis that is gone.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
# A call on a new connection takes fifteen rounds of the event loop, and a slice is one or more.
SLICES = 20
# A call takes a fraction of a millisecond; without a bound a crowd would open a connection each.
CONNECTIONS = 8


class BriefRedis:
    """Calls to a Redis that may be slow, full or gone. Safe to share among tasks.

    No call raises for what Redis does. After a failure Redis is left alone for 0.1 s, then
    one call tries it while the others still go on without, and when that fails too the pause
    doubles, up to five seconds. `name` begins the log lines of going and coming back.
    """

    def __init__(self, url: str, name: str) -> None:
        # Connections are made when they are needed.
        self.client = async_redis_client(
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
        self._name = name
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._left_alone_until = 0.0
        # Above 0 from a failure until a call succeeds.
        self._pause = 0.0

    @property
    def left_alone(self) -> bool:
        """Whether a call now would get no answer."""
        return time.monotonic() < self._left_alone_until

    @property
    def away(self) -> bool:
        """Whether the last that is known of Redis is that it failed."""
        return self._pause > 0

    async def aclose(self) -> None:
        """Close the connections."""
        with contextlib.suppress(RedisError, OSError):
            await within(CALL_SECONDS, close(self.client))

    async def ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """What Redis answers to `call`; None when it fails or is left alone."""
        async with self._slots:
            # Looked at here and no earlier: Redis may have failed while this call had to wait.
            if self.left_alone:
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
                log.info(f"{self._name}_back")
            return answer

    def _leave_alone(self, error: Exception, on_trial: bool) -> None:
        if self._pause == 0:
            log.warning(f"{self._name}_away", reason=type(error).__name__)
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
