"""Questions that are answered in lots, so that a crowd costs no more round trips than a few."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

# A connection may be silent, and the next lot waits for this one.
SECONDS = 5.0

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Gathering(Generic[Question, Answer]):
    """Has questions answered together that come while others are being answered.

    A lone one waits for nothing, and none is answered from what was read before it was asked.
    """

    def __init__(
        self, answer: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]], most: int
    ) -> None:
        """With `answer` for at most `most` questions, in their order; what it raises, all get.

        A lot that is not answered within five seconds raises `TimeoutError`.
        """
        self._answer = answer
        self._most = most
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._working: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """The answer to `question`; a caller that is cancelled takes no other's along."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._working is None:
            # It is for many callers, and so in the name of none of them.
            self._working = asyncio.create_task(self._work(), context=Context())
        return await answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                # For who has gone nobody is asked.
                self._waiting = [each for each in self._waiting if not each[1].done()]
                lot, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._settle(lot)
        finally:
            self._working = None

    async def _settle(self, lot: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                answers = await self._answer([question for question, _ in lot])
        except Exception as error:
            for _, waiting in lot:
                if not waiting.done():
                    waiting.set_exception(error)
            return
        for (_, waiting), answer in zip(lot, answers, strict=True):
            if not waiting.done():
                waiting.set_result(answer)
