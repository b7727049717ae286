"""One request and its answer on their way through the gate."""

import asyncio
import contextlib
import re
import time
from http import HTTPStatus
from typing import Any

import uuid_utils.compat
from litestar.types import HTTPResponseStartEvent, Message, Receive, Scope, Send

from api.problems import ProblemError, render

LINGER_SECONDS = 1.0


class Exchange:
    """One request and what has been answered to it so far. Status 499: the caller went away."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        self.request_id = request_id(headers.get("x-request-id"))
        self.started = time.perf_counter()
        self.status = 499
        self.sent = 0
        self.clock: asyncio.Timeout | None = None
        self._scope = scope
        self._receive = receive
        self._send = send
        # A caller that waits for leave to send its body need not send it to be refused.
        self._body_read = "expect" in headers
        scope["request_id"] = self.request_id  # type: ignore[typeddict-unknown-key]

    async def receive(self) -> Any:
        """A part of the body, or the news that the caller has gone."""
        message: Any = await self._receive()
        if message["type"] == "http.disconnect":
            self._scope["caller_gone"] = True  # type: ignore[typeddict-unknown-key]
        self._body_read = self._body_read or not message.get("more_body")
        return message

    async def send(self, message: Message) -> None:
        """Pass `message` on with the request id in its headers."""
        if self._scope.get("caller_gone"):
            return
        if message["type"] == "http.response.start":
            if message["status"] >= HTTPStatus.BAD_REQUEST:
                await self._let_finish()
            self.status = message["status"]
            if self.clock and is_stream(message):
                self.clock.reschedule(None)
            added = [(b"x-request-id", self.request_id.encode())]
            message["headers"] = [*message["headers"], *added]
        elif message["type"] == "http.response.body":
            self.sent += len(message["body"])
        await self._send(message)

    async def _let_finish(self) -> None:
        # A connection that is closed on a caller who still sends is reset, answer and all.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._body_read:
                    await self.receive()

    async def fail(self, problem: ProblemError) -> None:
        """Answer with `problem`, unless an answer has begun."""
        if self.status != 499:
            return
        status, headers, body = render(problem, self.request_id)
        encoded: list[tuple[bytes, bytes]] = [
            (name.encode(), value.encode()) for name, value in headers.items()
        ]
        encoded.append((b"content-length", str(len(body)).encode()))
        start: Any = {"type": "http.response.start", "status": status, "headers": encoded}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def is_stream(start: HTTPResponseStartEvent) -> bool:
    """Whether the answer that begins with `start` tells of events, and lasts as long as they do."""
    types = (value for name, value in start["headers"] if name.lower() == b"content-type")
    return any(value.startswith(b"text/event-stream") for value in types)


def request_id(given: str | None) -> str:
    """The caller's id when it is short and plain, or a new one."""
    if given and re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", given):
        return given
    return str(uuid_utils.compat.uuid7())
