"""One request and its answer on their way through the gate."""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import uuid_utils.compat
from litestar.types import HTTPResponseStartEvent, Message, Receive, Scope, Send

from api.admission import Place
from api.browsers import browser_headers
from api.problems import ProblemError, render
from memory.limits import Standing

LINGER_SECONDS = 1.0


class Exchange:
    """One request and what has been answered to it so far. Status 499: the caller went away."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        self.request_id = request_id(headers.get("x-request-id"))
        self.started = time.perf_counter()
        self.status = 499
        self.sent = 0
        self.clock: asyncio.Timeout | None = None
        self.alarm: asyncio.TimerHandle | None = None
        self._beside: asyncio.Task[None] | None = None
        self.place: Place | None = None
        # Told when an answer begins that lasts as long as its events do.
        self.on_stream: Callable[[], None] | None = None
        # What the answer's headers say beside what the answer itself does.
        self.added: list[tuple[bytes, bytes]] = [(b"x-request-id", self.request_id.encode())]
        self._scope = scope
        self._receive = receive
        self._send = send
        # A caller that waits for leave to send its body need not send it to be refused.
        self._body_read = "expect" in headers
        scope["request_id"] = self.request_id  # type: ignore[typeddict-unknown-key]
        scope["take_time"] = self.take_time  # type: ignore[typeddict-unknown-key]

    async def receive(self) -> Any:
        """A part of the body, or the news that the caller has gone."""
        message: Any = await self._receive()
        if message["type"] == "http.disconnect":
            self._scope["caller_gone"] = True  # type: ignore[typeddict-unknown-key]
        self._body_read = self._body_read or not message.get("more_body")
        return message

    async def send(self, message: Message) -> None:
        """Pass `message` on, with what every answer says in its headers."""
        if self._scope.get("caller_gone"):
            return
        if self._beside and asyncio.current_task() is not self._beside:
            # Too late: it is answered without what comes here.
            return
        if message["type"] == "http.response.start":
            self._begin(message)
        elif message["type"] == "http.response.body":
            self.sent += len(message["body"])
            if self.status >= HTTPStatus.BAD_REQUEST and not message.get("more_body"):
                # The answer goes out at once, and only its end waits.
                await self._send({**message, "more_body": True})
                await self._let_finish()
                message = {**message, "body": b""}
        await self._send(message)

    def _begin(self, message: HTTPResponseStartEvent) -> None:
        self.status = message["status"]
        if is_stream(message):
            self.take_time()
            if self.on_stream:
                self.on_stream()
        standing: Standing | None = self._scope.get("standing")  # type: ignore[assignment]
        given = [*message["headers"], *self.added, *limit_headers(standing)]
        message["headers"] = given + browser_headers(self._scope["scheme"], given)

    def take_time(self) -> None:
        """For what lasts as long as it has to: no clock, and no place among the requests."""
        if self.alarm:
            self.alarm.cancel()
        if self.place:
            self.place.leave()

    async def _let_finish(self) -> None:
        # A connection that is closed on a caller who still sends is reset, answer and all.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._body_read:
                    await self.receive()

    async def fail(self, problem: ProblemError) -> None:
        """Answer with `problem`, unless an answer has begun."""
        if self._beside and asyncio.current_task() is not self._beside:
            await self._beside
        if self.status != 499:
            return
        status, headers, body = render(problem, self.request_id)
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.answer(status, encoded, body)

    def fail_beside(self, problem: ProblemError) -> None:
        """The same, while the request that has failed is still at its end."""
        if self.status == 499:
            self._beside = asyncio.create_task(self.fail(problem))

    async def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole answer."""
        length = [(b"content-length", str(len(body)).encode())] if body else []
        start: Any = {"type": "http.response.start", "status": status, "headers": headers + length}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def limit_headers(standing: Standing | None) -> list[tuple[bytes, bytes]]:
    """What a caller is told of the limit that is nearest its end; times in whole seconds."""
    if standing is None:
        return []
    return [
        (b"x-ratelimit-limit", b"%d" % standing.limit),
        (b"x-ratelimit-remaining", b"%d" % max(0, standing.remaining)),
        (b"x-ratelimit-reset", b"%d" % math.ceil(standing.reset_seconds)),
    ]


def is_stream(start: HTTPResponseStartEvent) -> bool:
    """Whether the answer that begins with `start` tells of events, and lasts as long as they do."""
    types = (value for name, value in start["headers"] if name.lower() == b"content-type")
    return any(value.startswith(b"text/event-stream") for value in types)


def request_id(given: str | None) -> str:
    """The caller's id when it is short and plain, or a new one."""
    if given and re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", given):
        return given
    return str(uuid_utils.compat.uuid7())
