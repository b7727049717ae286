"""Jobs that callers watch: read together, twice a second, however many watch."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextvars import Context
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queries.jobs import job_from_row, jobs_by_id
from db.sessions import operator_transaction
from memory.jobs import Job

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5
# Proxies close a connection on which nothing passes for a minute, some after half of one.
HEARTBEAT_SECONDS = 15.0

# Who watches holds a connection, for as long as the job lasts.
MOST_WATCHERS = 1_000
MOST_OF_ONE = 100

MayWatch = Callable[[], Awaitable[bool]]


class Watcher:
    """One who watches: the job as it was told last, None when it is no longer there."""

    def __init__(self, job: Job, who: str, may_watch: MayWatch) -> None:
        self.id = job.id
        self.who = who
        self.may_watch = may_watch
        self.job: Job | None = job
        self.news = asyncio.Event()

    def tell(self, job: Job | None) -> None:
        """The job stands like this."""
        if job != self.job:
            self.job = job
            self.news.set()

    async def heard(self) -> bool:
        """Whether there is news within 15 seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await self.news.wait()
        news = self.news.is_set()
        self.news.clear()
        return news


class Watch:
    """Reads the watched jobs with one connection, and only while somebody watches."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._watchers: set[Watcher] = set()
        self._reader: asyncio.Task[None] | None = None
        self._ending = False

    def has_room(self, who: str) -> bool:
        """Whether one more may watch, and one more who is called `who`."""
        same = sum(watcher.who == who for watcher in self._watchers)
        return len(self._watchers) < MOST_WATCHERS and same < MOST_OF_ONE

    async def follow(self, job: Job, who: str, may_watch: MayWatch) -> AsyncIterator[Job | None]:
        """The job now and after each change until it has ended; None for 15 s without a change.

        Ends early when the service does, when the job is no longer there, and when the caller may
        watch no longer.
        """
        watcher = Watcher(job, who, may_watch)
        self._watchers.add(watcher)
        try:
            told: Job | None = job
            yield job
            # By what was told, not by what is known: it may have ended while the first was sent.
            while told and not told.ended and not self._ending:
                if self._reader is None or self._reader.done():
                    # For all who watch, and so not for the caller alone who is the first.
                    self._reader = asyncio.create_task(self._read(), context=Context())
                if not await watcher.heard():
                    yield None
                    continue
                told = watcher.job
                if told and not self._ending:
                    yield told
        finally:
            self._watchers.discard(watcher)

    def end(self) -> None:
        """Have everyone who follows a job stop within moments; to be called on the event loop."""
        self._ending = True
        for watcher in self._watchers:
            watcher.news.set()

    async def stop(self) -> None:
        """Let go of the database."""
        self.end()
        if self._reader:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader

    async def _read(self) -> None:
        while self._watchers:
            await asyncio.sleep(POLL_SECONDS)
            # Who comes while this reads was not asked about.
            asked = list(self._watchers)
            try:
                found = await self._jobs({watcher.id for watcher in asked})
                allowed = [await watcher.may_watch() for watcher in asked]
            except (SQLAlchemyError, OSError) as error:
                log.warning("watched_jobs_not_read", reason=type(error).__name__)
                continue
            for watcher, may_watch in zip(asked, allowed, strict=True):
                watcher.tell(found.get(watcher.id) if may_watch else None)

    async def _jobs(self, ids: Iterable[UUID]) -> dict[UUID, Job]:
        async with operator_transaction(self._engine) as connection:
            rows = await connection.execute(jobs_by_id(list(ids)))
        return {row.id: job_from_row(row) for row in rows}
