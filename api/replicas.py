"""Searches that replicas of the database answer, as long as they know of all that counts.

An answer from a replica must be as good as the primary's: what was stored is in it, what was erased
is not. Both are told by the version of the tenant's answers (`api.search_answers`): whoever commits
a change sets a new one. So a replica is asked once it has replayed all that the primary had
committed when this process saw the tenant's version first.
"""

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.metrics import Metrics
from api.probes import Shared
from api.replica import ANSWER_SECONDS, SILENT, Replica
from db.reading import Read
from db.replicas import (
    Position,
    another_log,
    primary_position,
    read_on_replica,
)
from memory.errors import ReplicaUnfitError
from memory.remembering import remember
from memory.settings import Settings
from memory.values import split_list

log = structlog.get_logger(__name__)

# How often the primary and each replica are asked how far they are.
LOOK_SECONDS = 0.5
# A search that a replica has not answered by then is the primary's.
SEARCH_SECONDS = 5.0
KNOWN_TENANTS = 10_000

Answer = TypeVar("Answer")
Look = Callable[[], Awaitable[None]]


class Reached(NamedTuple):
    """What was committed before `at`, in seconds of this process, lies before `position`."""

    at: float
    position: Position


class Replicas:
    """The replicas of `MEMORY_DATABASE_REPLICA_URLS`, which may be none."""

    def __init__(self, settings: Settings, side_engine: AsyncEngine, metrics: Metrics) -> None:
        urls = split_list(settings.database_replica_urls)
        self.all = [Replica(number, settings, url) for number, url in enumerate(urls, 1)]
        self._max_lag = settings.replica_max_lag_seconds
        self._side_engine = side_engine
        self._metrics = metrics
        self._reached: list[Reached] = []
        # By tenant the version that was seen last, and when it was seen first.
        self._seen: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._ask_primary = Shared[Reached | None](self._primary_position, ANSWER_SECONDS, None)
        self._given_up: set[asyncio.Future[Any]] = set()
        self._looking: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Look at primary and replicas from here on, each beside the others."""
        if self.all:
            looks: list[Look] = [partial(self.look_at, each) for each in self.all]
            looks.append(self.look_at_primary)
            self._looking = [asyncio.create_task(regularly(look)) for look in looks]

    async def stop(self) -> None:
        """Look no more, and close the connections."""
        for task in self._looking:
            task.cancel()
        await self._ask_primary.stop()
        # Asked a second time they end, also when their server says nothing.
        for asking in list(self._given_up):
            asking.cancel()
        await asyncio.gather(*(each.close() for each in self.all))

    async def answer(
        self, tenant_id: str, version: bytes | None, ask: Callable[[Read], Awaitable[Answer]]
    ) -> Answer | None:
        """What `ask` gives that reads on a replica which knows all of the tenant's `version`.

        None where the primary must be asked: no replica is that far, or the one asked failed.
        """
        needed = self.needed(tenant_id, version) if version and self.all else None
        replica = self._choose(needed) if needed else None
        if needed is None or replica is None:
            return None
        asking = asyncio.ensure_future(ask(partial(read_on_replica, replica.engine, needed)))
        replica.asked_at = time.monotonic()
        replica.in_flight += 1
        try:
            waiting: set[asyncio.Future[Any]] = {asking, *replica.losing}
            await asyncio.wait(waiting, timeout=SEARCH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            reason = SILENT
        except ReplicaUnfitError as error:
            reason = str(error)
        except (SQLAlchemyError, OSError) as error:
            # The driver's own says more, such as that a search stood in the way of the log.
            reason = type(getattr(error, "orig", None) or error).__name__
        finally:
            replica.in_flight -= 1
            self._give_up(asking)
        self._metrics.replica_failures.inc()
        log.info("replica_failed", replica=replica.number, reason=reason)
        return None

    def needed(self, tenant_id: str, version: bytes) -> Position | None:
        """How far a replica must be for a tenant of this version; None when nobody knows yet."""
        now = time.monotonic()
        known = self._seen.get(tenant_id)
        if known is None or known[0] != version:
            remember(self._seen, tenant_id, (version, now), KNOWN_TENANTS)
            return None
        # Not every change is told: who was killed after a commit has told nobody.
        since = max(known[1], now - self._max_lag)
        place = bisect_left(self._reached, since, key=lambda each: each.at)
        return self._reached[place].position if place < len(self._reached) else None

    def _choose(self, needed: Position) -> Replica | None:
        """Of those that are far enough the one with least to do, by turns."""
        able = [
            each
            for each in self.all
            if each.position
            and not another_log(each.position, needed)
            and each.position.log >= needed.log
        ]
        return min(able, key=lambda each: (each.in_flight, each.asked_at), default=None)

    def _give_up(self, asking: asyncio.Future[Answer]) -> None:
        """Wait no longer for `asking`; a server that is silent may hold it for a while."""
        if asking.cancel():
            self._given_up.add(asking)
            asking.add_done_callback(self._given_up.discard)
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def look_at_primary(self) -> None:
        """Note how far the primary is."""
        reached = await self._ask_primary()
        if reached is None:
            return
        if self._reached:
            last = self._reached[-1].position
            # Its log goes back where its files were replaced by an older copy of them.
            if another_log(last, reached.position) or reached.position.log < last.log:
                self._reached.clear()
        self._reached.append(reached)
        oldest = reached.at - self._max_lag
        del self._reached[: bisect_left(self._reached, oldest, key=lambda each: each.at)]

    async def _primary_position(self) -> Reached | None:
        # Before it is asked: what is committed while it answers may lie behind the position.
        at = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._side_engine.connect() as connection:
                return Reached(at, await primary_position(connection))
        except (SQLAlchemyError, OSError):
            return None

    async def look_at(self, replica: Replica) -> None:
        """Note how far a replica is, and say when it begins or ends to be far enough."""
        found = await replica.look()
        if not self._reached:
            return
        if isinstance(found, Position):
            ahead = self._is_ahead(replica)
            replica.answered = (time.monotonic(), found.log)
            found = another_log(found, self._reached[-1].position) or ahead or found
        if isinstance(found, str):
            replica.put_aside()
            replica.level_at = None
        else:
            replica.take(found)
            place = bisect_right(self._reached, found.log, key=lambda each: each.position.log)
            if place:
                replica.level_at = self._reached[place - 1].at
        lag = replica.lag_seconds
        behind = lag is None or lag > self._max_lag
        why_not = found if isinstance(found, str) else "it is behind" if behind else ""
        if why_not != replica.why_not:
            replica.why_not = why_not
            if why_not:
                log.warning("replica_not_used", replica=replica.number, reason=why_not)
            else:
                log.info("replica_used", replica=replica.number)

    def _is_ahead(self, replica: Replica) -> str | None:
        """Why a replica has what the primary has not: the primary's files are of an older copy.

        What a replica has, the primary had before. So one that is asked later is that far.
        """
        if replica.answered is None:
            return None
        at, log = replica.answered
        place = bisect_left(self._reached, at, key=lambda each: each.at)
        ahead = place < len(self._reached) and self._reached[place].position.log < log
        return "it is ahead of the primary: it has another history" if ahead else None


async def regularly(look: Look) -> None:
    """Look again and again, whatever comes of it."""
    while True:
        try:
            await look()
        except Exception as error:
            log.warning("replicas_not_looked_at", reason=type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)
