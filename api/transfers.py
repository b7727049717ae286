"""Files that come and go: so many at a time, for as long as they take, while they move at all."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

from litestar import Request

from api.problems import BusyError, UnavailableError
from api.protocol import READ_LEAST_BYTES, UNREAD_SECONDS

# Each has a few megabytes in memory.
MOST_TRANSFERS = 8
# A step of the work on a file that comes in.
STEP_BYTES = 256 * 1024


class Transfers:
    """The files that this process sends and receives at the moment."""

    def __init__(self) -> None:
        self._taken = 0

    def check_room(self) -> None:
        """Raise `BusyError` when there is no room for another."""
        if self._taken >= MOST_TRANSFERS:
            raise BusyError

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """There is one more in the block. Raises `BusyError` when there is no room."""
        self.check_room()
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


# Of this process.
TRANSFERS = Transfers()


def take_time(request: Request[Any, Any, Any]) -> None:
    """Let the request last longer than others may, and hold no place of theirs."""
    request.scope["take_time"]()  # type: ignore[typeddict-item]


async def received(request: Request[Any, Any, Any]) -> AsyncGenerator[bytes, None]:
    """The body, some at a time; raises `UnavailableError` when it stands still.

    What counts is the time in which it is waited for, as it does for who reads an answer.
    """
    loop = asyncio.get_running_loop()
    stream = request.stream()
    step, fresh, left = bytearray(), 0, UNREAD_SECONDS
    while True:
        began = loop.time()
        try:
            async with asyncio.timeout(left):
                data = await anext(stream, None)
        except TimeoutError:
            raise UnavailableError(
                f"The file stands still: {READ_LEAST_BYTES} bytes took over {UNREAD_SECONDS:g} s."
            ) from None
        left -= loop.time() - began
        if data is None:
            break
        step += data
        fresh += len(data)
        if fresh >= READ_LEAST_BYTES:
            fresh, left = 0, UNREAD_SECONDS
        if len(step) >= STEP_BYTES:
            yield bytes(step)
            step.clear()
    if step:
        yield bytes(step)
