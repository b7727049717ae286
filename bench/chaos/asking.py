"""Requests of this bench's callers, each judged by the faults that were at work."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from bench.chaos.judging import Windows, fault_of
from bench.chaos.ledger import Ledger
from bench.connection import Answer, Connection
from bench.serving import JSON

# Longer than any answer may take, and than any process is stopped.
PATIENCE_SECONDS = 20.0
AGAIN_SECONDS = 0.2


class Asker:
    """Asks now one API process, now another, over connections that it keeps; one at a time."""

    def __init__(
        self,
        urls: Mapping[str, str],
        key: str,
        ledger: Ledger,
        windows: Windows,
        answers: Counter[str],
        numbers: random.Random,
    ) -> None:
        """`answers` counts what became of requests."""
        self.ledger = ledger
        self.numbers = numbers
        self._answers = answers
        self.windows = windows
        headers = {"x-api-key": key}
        self._connections = [Connection(url, headers) for url in urls.values()]

    def close(self) -> None:
        """Close the connections."""
        for each in self._connections:
            each.close()

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        expected: frozenset[int],
        headers: Mapping[str, str] | None = None,
    ) -> Answer | None:
        """The answer if it is one of those `expected`; what is wrong with any other is noted."""
        connection = self.numbers.choice(self._connections)
        began = time.monotonic()
        outcome: Answer | str
        sent = body if isinstance(body, bytes) else msgspec.json.encode(body) if body else b""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                outcome = await connection.request(
                    method, target, sent, {**(JSON if body else {}), **(headers or {})}
                )
        except (OSError, TimeoutError) as error:
            outcome = type(error).__name__
        ended = time.monotonic()
        excused = self.windows.excuses(began, ended, target)
        self._answers[outcome if isinstance(outcome, str) else str(outcome.status)] += 1
        if wrong := fault_of(outcome, expected, ended - began, excused):
            self.ledger.note_wrong(f"{method} {target[:80]}: {wrong}")
        good = not isinstance(outcome, str) and outcome.status in expected
        return outcome if good and isinstance(outcome, Answer) else None

    async def insist(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        expected: frozenset[int],
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The same, asked again until it is answered."""
        while True:
            answer = await self.ask(method, target, body, expected=expected, headers=headers)
            if answer is not None:
                return answer
            await asyncio.sleep(AGAIN_SECONDS)
