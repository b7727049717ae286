"""Whether a request is within its limits, counted over all processes."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from api.brief_redis import BriefRedis
from api.metrics import Metrics
from api.shared_windows import admit_in_redis
from memory.limits import Hit, Standing, merged
from memory.windows import Windows

# So many take Redis some five milliseconds at the worst, in which it does nothing else.
GROUP_REQUESTS = 64
NANOSECONDS_A_MICROSECOND = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The hits of one request, and how it stands after them."""

    hits: list[Hit]
    done: asyncio.Future[Standing] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Limiter:
    """Limits that all processes keep together in one Redis. Belongs to one event loop.

    Requests that come while Redis is asked go into the next call together, so that calls are as
    large as the load makes them and a lone request waits for nothing. While Redis does not answer,
    or without one (`url` is empty), each process keeps the limits for itself: nobody is refused
    for it, and nobody gets more than the limit from each process.

    The Redis is the broker's, which evicts nothing: a cache's may forget what has been counted.
    """

    def __init__(self, url: str, metrics: Metrics) -> None:
        self._redis = BriefRedis(url, "rate_limiter") if url else None
        self._metrics = metrics
        self._own = Windows()
        self._waiting: deque[Asked] = deque()
        self._asking: asyncio.Task[None] | None = None

    @property
    def degraded(self) -> bool:
        """Whether this process keeps the limits for itself, for Redis has not answered it."""
        return self._redis is not None and self._redis.away

    async def aclose(self) -> None:
        """Answer those who wait and close the connections."""
        if self._asking:
            await self._asking
        if self._redis:
            await self._redis.aclose()

    async def admit(self, hits: Sequence[Hit]) -> Standing | None:
        """Count all of `hits`, or none of them when a limit refuses; None without hits.

        A caller that is cancelled cancels nobody else's.
        """
        if not hits:
            return None
        if self._redis is None:
            standing = self._admit_here(hits)
        elif self._redis.left_alone:
            self._metrics.rate_limit_local.inc()
            standing = self._admit_here(hits)
        else:
            standing = await self._admit_together(self._redis, hits)
        if standing.retry_after is not None:
            self._metrics.rate_limit_refused.labels(standing.hit.kind).inc()
        return standing

    def _admit_here(self, hits: Sequence[Hit]) -> Standing:
        return self._own.admit(hits, time.monotonic_ns() // NANOSECONDS_A_MICROSECOND)

    async def _admit_together(self, redis: BriefRedis, hits: Sequence[Hit]) -> Standing:
        asked = Asked(merged(hits))
        self._waiting.append(asked)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_for_all(redis))
        return await asked.done

    async def _ask_for_all(self, redis: BriefRedis) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), GROUP_REQUESTS)
                group = [self._waiting.popleft() for _ in range(size)]
                await self._ask(redis, group)
        finally:
            self._asking = None

    async def _ask(self, redis: BriefRedis, group: Sequence[Asked]) -> None:
        lots = [asked.hits for asked in group]
        try:
            answer = await redis.ask(lambda: admit_in_redis(redis.client, lots))
            self._metrics.rate_limiter_degraded.set(answer is None)
            if answer is None:
                self._metrics.rate_limit_local.inc(len(group))
            standings = answer[1] if answer else [self._admit_here(hits) for hits in lots]
        except Exception as error:
            for asked in group:
                if not asked.done.done():
                    asked.done.set_exception(error)
            return
        for asked, standing in zip(group, standings, strict=True):
            # Unless its caller has gone.
            if not asked.done.done():
                asked.done.set_result(standing)
