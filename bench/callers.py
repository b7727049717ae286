"""Callers that post and search without a pause for breath, and note all that fails."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

import msgspec

from bench.connection import Connection
from bench.latency import percentile
from bench.serving import JSON

# A connection that has just been used, and one that has not been for a while.
PAUSES_SECONDS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 2.0)


@dataclass
class Heard:
    """What callers heard in some time: seconds of each answer, and what came to nothing."""

    taken: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    def milliseconds(self, share: float) -> float:
        """A percentile; 1 is the slowest."""
        return 1000 * percentile(self.taken, share) if self.taken else 0.0


class Callers:
    """Some with a connection that they keep, and some with a new one for each request."""

    def __init__(self, url: str, keeping: int, fresh: int) -> None:
        self.url = url
        self.heard = Heard()
        # The ids of all that was acknowledged.
        self.acknowledged: list[str] = []
        self._kept = [True] * keeping + [False] * fresh
        self._numbers = random.Random("callers")
        self._until: Callable[[str], bool] = lambda _: False
        self._tasks: Sequence[asyncio.Task[None]] = ()

    def begin(self) -> None:
        """Begin to call."""
        calls = enumerate(self._kept)
        self._tasks = [asyncio.create_task(self._call(n, kept=kept)) for n, kept in calls]

    def turn(self) -> Heard:
        """What was heard since the last turn."""
        heard, self.heard = self.heard, Heard()
        return heard

    def leave_at(self, sign: Callable[[str], bool]) -> None:
        """From here on who fails in a way that is a `sign` leaves."""
        self._until = sign

    async def end(self) -> None:
        """Wait until all have left."""
        await asyncio.gather(*self._tasks)

    async def _call(self, number: int, *, kept: bool) -> None:
        connection = Connection(self.url, {})
        calls = 0
        while True:
            calls += 1
            reason = await self._ask(connection, number, calls)
            if reason:
                if self._until(reason):
                    return
                self.heard.failed[reason] += 1
            if not kept:
                connection.close()
            await asyncio.sleep(self._numbers.choice(PAUSES_SECONDS))

    async def _ask(self, connection: Connection, number: int, calls: int) -> str:
        """Post or search; why it came to nothing, empty when it did not."""
        started = time.perf_counter()
        try:
            if calls % 3:
                said = f"caller {number} says its word number {calls}"
                body = {"tenant_id": f"tenant-{number % 4}", "conversation_id": str(number)}
                answer = await connection.request(
                    "POST",
                    "/v1/messages",
                    msgspec.json.encode({**body, "role": "user", "content": said}),
                    JSON,
                )
                if answer.status == 202:
                    self.acknowledged.append(msgspec.json.decode(answer.body)["id"])
            else:
                query = urlencode({"tenant_id": f"tenant-{number % 4}", "query": "which word"})
                answer = await connection.request("GET", f"/v1/memory/search?{query}")
        except (OSError, TimeoutError) as error:
            return type(error).__name__
        self.heard.taken.append(time.perf_counter() - started)
        return "" if answer.status < 300 else f"status {answer.status}"
