"""Tells the workers what was committed, off the request path."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog
from celery import Celery

from memory import tracing
from memory.jobs import JobKind
from memory.settings import Settings
from tasks.brokers import publisher_configuration
from tasks.configuration import celery_configuration
from tasks.sending import queue_depths, send_embedding, send_job

log = structlog.get_logger(__name__)

# Ids that come within this time go out as one task.
WINDOW_SECONDS = 0.005
# To send takes a processor milliseconds; after it there is rest of so many times what it took, but
# no longer than the second. Who posts much needs the processor more, and lots grow meanwhile.
RESTS = 9
REST_MOST_SECONDS = 0.1
# After a failure the broker is left alone for so long; the sweep sends what was not sent.
PAUSE_SECONDS = 1.0
MOST_MESSAGES = 5_000
MOST_REQUEST_IDS = 20


class Publisher:
    """Gathers the ids of committed messages and sends one task for the lot.

    Nothing here can fail or slow a request: `publish` only appends to a list, and a lot that
    cannot be sent is dropped, because the pending row is what counts; `dropped` is told how many.
    `own_broker` is whether tasks go by another server than the Redis of all else.
    """

    def __init__(self, settings: Settings, dropped: Callable[[int], None]) -> None:
        self._app = Celery("memory-api", set_as_current=False)
        self._app.conf.update(celery_configuration(settings))
        self._app.conf.update(publisher_configuration(settings.broker_url or settings.redis_url))
        self.own_broker = bool(settings.broker_url)
        self._waiting: list[tuple[str, UUID, str, tracing.Origin]] = []
        self._wake = asyncio.Event()
        self._paused_until = 0.0
        self._runner: asyncio.Task[None] | None = None
        self._dropped = dropped
        # One at a time: a broker that is silent must not hold a thread for each job.
        self._job = asyncio.Lock()

    def publish(self, messages: Sequence[tuple[str, UUID]], request_id: str) -> None:
        """Have `messages`, pairs of tenant and id, embedded soon."""
        if len(self._waiting) + len(messages) > MOST_MESSAGES:
            self._dropped(len(messages))
            return
        origin = tracing.here()
        self._waiting += [(tenant, id_, request_id, origin) for tenant, id_ in messages]
        self._wake.set()

    async def queue_depths(self) -> dict[str, int]:
        """How many tasks wait in the broker, by queue. Raises kombu's errors when it is away."""
        return await asyncio.to_thread(queue_depths, self._app)

    async def send_job(self, kind: JobKind, tenant_id: str, job_id: UUID) -> None:
        """Have a job begun soon; what cannot be sent is left to `restart_stalled_jobs`."""
        async with self._job:
            if time.monotonic() < self._paused_until:
                return
            try:
                await asyncio.to_thread(send_job, self._app, kind, tenant_id, job_id)
            except Exception as error:
                self._paused_until = time.monotonic() + PAUSE_SECONDS
                log.warning("job_not_sent", job=str(job_id), reason=type(error).__name__)

    async def start(self) -> None:
        """Begin to send."""
        self._runner = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Send what waits, once, and end."""
        if self._runner is not None:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runner
        await self._send_lot()
        await asyncio.to_thread(self._app.close)

    async def _run(self) -> None:
        rests_until = 0.0
        while True:
            await self._wake.wait()
            await asyncio.sleep(max(WINDOW_SECONDS, rests_until - time.monotonic()))
            self._wake.clear()
            began = time.monotonic()
            # Shielded, so that a stop in the middle of a send neither loses nor repeats the lot.
            await asyncio.shield(asyncio.ensure_future(self._send_lot()))
            ended = time.monotonic()
            rests_until = ended + min(RESTS * (ended - began), REST_MOST_SECONDS)

    async def _send_lot(self) -> None:
        lot, self._waiting = self._waiting, []
        if not lot:
            return
        if time.monotonic() < self._paused_until:
            self._dropped(len(lot))
            return
        messages: dict[str, list[UUID]] = defaultdict(list)
        for tenant, id_, _, _ in lot:
            messages[tenant].append(id_)
        request_ids = list(dict.fromkeys(request_id for _, _, request_id, _ in lot))
        try:
            await asyncio.to_thread(
                send_embedding,
                self._app,
                messages,
                request_ids=request_ids[:MOST_REQUEST_IDS],
                origins=list(dict.fromkeys(origin for *_, origin in lot)),
            )
        except Exception as error:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            self._dropped(len(lot))
            log.warning("publish_failed", messages=len(lot), reason=type(error).__name__)
