"""What beat and the workers do otherwise, where there are none: messages are embedded inline."""

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial

import structlog

from api.problems import database_is_away
from tasks.indexing import refresh
from tasks.periodic import ALWAYS, TURN_SECONDS, Schedule, Turn
from tasks.resources import Resources

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 15.0


class Upkeep:
    """Does in a thread, turn by turn, what there is to do; then rests until there may be more."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._schedule = Schedule(resources.settings)
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
        while not self._ending:
            more = await asyncio.to_thread(self._round)
            if not more:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(INTERVAL_SECONDS):
                        await self._awake.wait()
            self._awake.clear()

    def _round(self) -> bool:
        """Give each chore its turn; whether any has more to do."""
        more = False
        chores = {"schedule": self._keep_schedule, "statistics": self._refresh_grown}
        chores |= {task: partial(chore, self._resources) for task, chore in ALWAYS.items()}
        for name, chore in chores.items():
            if self._ending:
                break
            try:
                more |= chore(Turn(TURN_SECONDS, lambda: self._ending))
            except Exception as error:
                log.warning("upkeep_put_off", chore=name, reason=type(error).__name__)
                if database_is_away(error):
                    return False
        return more

    def _keep_schedule(self, _: Turn) -> bool:
        self._schedule.keep(self._resources, datetime.now(UTC))
        return False

    def _refresh_grown(self, turn: Turn) -> bool:
        while self._grown and turn.left:
            tenant_id = self._grown.pop()
            try:
                refresh(self._resources, tenant_id)
            except Exception:
                self._grown.add(tenant_id)
                raise
        return bool(self._grown)
