"""The care of the lexical index where no worker runs: messages are embedded inline."""

import asyncio
import contextlib
from collections.abc import Iterable

import structlog

from tasks.indexing import refresh, reindex_slice
from tasks.resources import Resources

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 15.0


class Upkeep:
    """Does now and then, in a thread, what a worker's tasks do otherwise."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._grown: set[str] = set()
        self._ending = False
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, once the slice that is under way has ended."""
        self._ending = True
        self._awake.set()
        if self._task:
            await self._task

    def note(self, tenants: Iterable[str], messages: int) -> None:
        """So many messages were stored for `tenants`."""
        self._grown |= {
            tenant_id for tenant_id in tenants if self._resources.growth.add(tenant_id, messages)
        }

    def wake(self) -> None:
        """There is something to do that need not wait for its time."""
        self._awake.set()

    async def _run(self) -> None:
        while not await self._waited():
            grown, self._grown = self._grown, set()
            try:
                await asyncio.to_thread(self._work, grown)
            except Exception as error:
                self._grown |= grown
                log.warning("upkeep_put_off", reason=type(error).__name__)

    async def _waited(self) -> bool:
        """Whether the end came while this waited."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(INTERVAL_SECONDS):
                await self._awake.wait()
        self._awake.clear()
        return self._ending

    def _work(self, grown: Iterable[str]) -> None:
        for tenant_id in grown:
            refresh(self._resources, tenant_id)
        while not self._ending and reindex_slice(self._resources):
            pass
