"""What every request passes first and last: id, key check, clock, log and metrics."""

import asyncio
import contextlib
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import structlog
import uuid_utils.compat
from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    HTTPResponseStartEvent,
    HTTPScope,
    Message,
    Receive,
    Scope,
    Send,
)

from api.metrics import Metrics
from api.problems import ProblemError, UnavailableError, render
from memory.errors import MemoryLayerError
from memory.settings import Settings

PUBLIC = ("/v1/admin/live", "/v1/admin/health", "/v1/admin/readiness", "/docs", "/metrics")
LINGER_SECONDS = 1.0
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Who calls a service that asks for no key.
LOCAL = "local"

log = structlog.get_logger("api")


class Gate:
    """An ASGI application around the Litestar one, so that no answer escapes it, 404s included."""

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, end_streams: Callable[[], None]
    ) -> None:
        self._app = app
        self.end_streams = end_streams
        self._metrics = metrics
        self._timeout = settings.request_timeout_seconds
        self._keys = settings.operator_keys
        # Decided once, at the start: without keys only this machine may talk to the service.
        self._open = not self._keys and settings.api_host in LOOPBACK
        if not self._keys:
            served = "this machine only" if self._open else "nobody, for it is not on loopback"
            log.warning("no_api_keys", serves=served)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on what is not a request."""
        if scope["type"] != ScopeType.HTTP:
            await self._pass_on(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        exchange = Exchange(scope, receive, send, headers)
        structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
        try:
            self._check_caller(scope, headers)
            async with asyncio.timeout(self._timeout) as exchange.clock:
                await self._app(scope, exchange.receive, exchange.send)
        except ProblemError as problem:
            await exchange.fail(problem)
        except TimeoutError:
            await exchange.fail(UnavailableError(f"No answer within {self._timeout:g} s."))
        finally:
            self._record(scope, exchange)
            structlog.contextvars.clear_contextvars()

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure: list[Any] = []

        async def send_but_failure(message: Any) -> None:
            if message["type"] == "lifespan.startup.failed":
                failure.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, send_but_failure)
        except Exception as error:
            # The reason alone: the traceback, which the framework sends, would bury it.
            if reason := named_reason(error):
                failure = [{"type": "lifespan.startup.failed", "message": reason}]
            raise
        finally:
            for message in failure:
                await send(message)

    def _check_caller(self, scope: HTTPScope, headers: dict[str, str]) -> None:
        if self._open:
            # Or a web page elsewhere could reach in through a name that resolves to loopback.
            if host_name(headers.get("host", "")) not in LOOPBACK:
                raise ProblemError(
                    403, "forbidden", "Without keys, only loopback host names are served."
                )
            scope["caller"] = LOCAL  # type: ignore[typeddict-unknown-key]
            return
        path = scope["path"]
        if any(path == public or path.startswith(public + "/") for public in PUBLIC):
            return
        # A browser asks whether it may send a key before it sends one.
        if scope["method"] == "OPTIONS":
            return
        key = presented_key(headers)
        if not known_key(key, self._keys):
            raise ProblemError(401, "unauthorized", "Send a valid key as `x-api-key`.")
        scope["caller"] = name_of_key(key)  # type: ignore[typeddict-unknown-key]

    def _record(self, scope: HTTPScope, exchange: "Exchange") -> None:
        seconds = time.perf_counter() - exchange.started
        endpoint = str(scope.get("path_template") or "unmatched")
        self._metrics.requests.labels(scope["method"], endpoint, str(exchange.status)).inc()
        self._metrics.request_seconds.labels(scope["method"], endpoint).observe(seconds)
        log.info(
            "request",
            method=scope["method"],
            endpoint=endpoint,
            status=exchange.status,
            milliseconds=round(seconds * 1000, 1),
            tenant_id=scope.get("tenant_id"),
            bytes=exchange.sent,
        )


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


def named_reason(error: Exception) -> str:
    """What an error of ours says, however deep in a group of one; empty for any other error."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, MemoryLayerError) else ""


def request_id(given: str | None) -> str:
    """The caller's id when it is short and plain, or a new one."""
    if given and re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", given):
        return given
    return str(uuid_utils.compat.uuid7())


def host_name(host: str) -> str:
    """The name in a Host header, without its port and brackets, in lower case."""
    return re.sub(r":\d+$", "", host).strip("[]").lower()


def presented_key(headers: dict[str, str]) -> str:
    """The key in `x-api-key`, or the bearer token; empty without either."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")


def known_key(key: str, keys: Iterable[str]) -> bool:
    """Whether `key` is one of `keys`, in a time that tells nothing about them."""
    matches = [hmac.compare_digest(key.encode(), known.encode()) for known in keys]
    return any(matches)


def name_of_key(key: str) -> str:
    """What stands for a key in records, such as `key 3f9a1c2e`: it cannot be had back from it."""
    return f"key {hashlib.sha256(key.encode()).hexdigest()[:8]}"
