"""Work that is done beside the requests, now and then."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable


class Regularly:
    """Does `work` every so many seconds, and once more at the end. `work` raises nothing."""

    def __init__(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        self._seconds = seconds
        self._work = work
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Do the work once more, and end."""
        self._ending.set()
        if self._task:
            await self._task

    async def _run(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._ending.wait()
            await self._work()
