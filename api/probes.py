"""What is asked of the servers beside all requests, by whoever wants to know how they are."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Row
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queries.gauges import FRESH_GAUGES
from db.queries.health import ANSWERS
from db.queries.jobs import LAST_COMPLETED
from db.sessions import operator_transaction
from tasks.publisher import Publisher

DATABASE_SECONDS = 2.0
# A page without the store's figures is better than none in time.
GAUGE_SECONDS = 1.0
QUEUE_SECONDS = 1.0
REDIS_SECONDS = 1.5
MARGIN_SECONDS = 0.25
NO_ROWS: Sequence[Row[Any]] = ()
NO_QUEUES: Mapping[str, int] = {}

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")


class Shared(Generic[Answer]):
    """A question that anybody may ask: who asks while it is under way hears the same answer.

    Nobody waits longer than `seconds`: to give up a server that hangs may take longer than to
    decide so.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[Answer]], seconds: float, otherwise: Answer
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._otherwise = otherwise
        self._asking: asyncio.Future[Answer] | None = None

    async def __call__(self) -> Answer:
        """The answer, `otherwise` without one in time. Who is cancelled takes it from nobody."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask())
        asking = self._asking
        await asyncio.wait([asking], timeout=self._seconds)
        return asking.result() if asking.done() else self._otherwise

    async def stop(self) -> None:
        """Give up what is under way."""
        if self._asking:
            self._asking.cancel()
            await asyncio.wait([self._asking])


class Probes:
    """Questions to the servers, each asked once at a time, however many ask: nobody needs a key."""

    def __init__(
        self, engine: AsyncEngine, redis: Redis | None, publisher: Publisher | None = None
    ) -> None:
        self._engine = engine
        self._redis = redis
        self._publisher = publisher
        # Whether the database answers must not wait for what reads a table, which may be locked.
        self._reading = asyncio.Lock()
        self.latency_ms = Shared(self._latency_ms, DATABASE_SECONDS + MARGIN_SECONDS, None)
        self.last_retention_run = Shared(
            self._last_retention_run, DATABASE_SECONDS + MARGIN_SECONDS, None
        )
        self.gauges = Shared(self._gauges, GAUGE_SECONDS + MARGIN_SECONDS, NO_ROWS)
        self.redis = Shared(self._redis_answers, REDIS_SECONDS, False)
        self.queues = Shared(self._queue_depths, QUEUE_SECONDS, NO_QUEUES)

    async def stop(self) -> None:
        """Give up what is under way: what it asks is closed next."""
        asked = (self.latency_ms, self.last_retention_run, self.gauges, self.redis, self.queues)
        await asyncio.gather(*(question.stop() for question in asked))

    @property
    def own_broker(self) -> bool:
        """Whether there is another broker than the Redis of all else."""
        return self._publisher is not None and self._publisher.own_broker

    async def broker(self) -> bool:
        """Whether there is a broker that answers."""
        # Of one that answers all queues are counted, empty ones too.
        return bool(await self.queues()) if self.own_broker else await self.redis()

    async def _latency_ms(self) -> float | None:
        """The time of one round trip in milliseconds, None when there is none."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(DATABASE_SECONDS), self._engine.connect() as connection:
                await connection.execute(ANSWERS)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            log.warning("database_down", reason=type(error).__name__)
            return None
        return round((time.perf_counter() - started) * 1000, 3)

    async def _last_retention_run(self) -> datetime | None:
        """When a retention run, and no dry one, last ended; None when none is known."""
        try:
            async with (
                asyncio.timeout(DATABASE_SECONDS),
                self._reading,
                operator_transaction(self._engine) as seen,
            ):
                ended: datetime | None = await seen.scalar(LAST_COMPLETED, {"kind": "retention"})
        except (SQLAlchemyError, OSError, TimeoutError):
            return None
        return ended

    async def _gauges(self) -> Sequence[Row[Any]]:
        """What a worker measured lately; nothing when the database does not answer at once."""
        try:
            async with (
                asyncio.timeout(GAUGE_SECONDS),
                self._reading,
                self._engine.connect() as connection,
            ):
                rows: Sequence[Row[Any]] = (await connection.execute(FRESH_GAUGES)).all()
        except (SQLAlchemyError, OSError, TimeoutError):
            return []
        return rows

    async def _queue_depths(self) -> Mapping[str, int]:
        """How many tasks wait, by queue; nothing where there is no broker, or no answer."""
        if self._publisher is None:
            return {}
        try:
            return await self._publisher.queue_depths()
        except Exception as error:
            log.warning("queues_not_counted", reason=type(error).__name__)
            return {}

    async def _redis_answers(self) -> bool:
        """Whether there is a Redis that answers."""
        try:
            return self._redis is not None and bool(await self._redis.ping())
        except (RedisError, OSError, TimeoutError):
            return False
