"""What every request passes first and last: id, key check, clock, log and metrics."""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    HTTPScope,
    Receive,
    Scope,
    Send,
)

from api.admission import Room, check_size
from api.door import presented_key
from api.entrance import Entrance, address_of
from api.exchange import Exchange
from api.failures import Failures
from api.metrics import Metrics
from api.origins import Origins
from api.problems import ProblemError, UnavailableError, problem_error
from api.tracing import traced
from db.sessions import bound_to
from memory import logs
from memory.errors import MemoryLayerError
from memory.settings import Settings
from memory.values import split_list

log = structlog.get_logger("api")

# What a request may take to end once its time is over, before it is answered all the same.
ENDING_SECONDS = 0.5
# Who was answered so is to be found.
REFUSED = frozenset({401, 403, 429})


class Gate:
    """An ASGI application around the Litestar one, so that no answer escapes it, 404s included."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        metrics: Metrics,
        entrance: Entrance,
        failures: Failures,
        end_streams: Callable[[], None],
        turn_away: Callable[[], None],
    ) -> None:
        self._app = app
        self.end_streams = end_streams
        self.turn_away = turn_away
        self._entrance = entrance
        self._failures = failures
        self._door = entrance.door
        self._metrics = metrics
        self._timeout = settings.request_timeout_seconds
        self._origins = Origins(settings)
        self._room = Room(settings.request_max_in_flight)
        metrics.in_flight.set_function(lambda: self._room.taken)
        self.trusted_proxies = split_list(settings.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on what is not a request."""
        if scope["type"] != ScopeType.HTTP:
            await self._pass_on(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        exchange = Exchange(scope, receive, send, headers)
        with traced(scope, headers, exchange):
            await self._serve(scope, headers, exchange)

    async def _serve(self, scope: HTTPScope, headers: dict[str, str], exchange: Exchange) -> None:
        origin = headers.get("origin")
        exchange.added += self._origins.headers(origin, open_door=self._door.open)
        structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
        try:
            check_size(scope)
            with self._room.place(scope["path"]) as exchange.place:
                await self._answer(scope, headers, exchange)
        except ProblemError as problem:
            # Here, where the request holds nobody's place any more.
            if problem.wait_seconds:
                await asyncio.sleep(problem.wait_seconds)
            await exchange.fail(problem)
        except TimeoutError:
            await exchange.fail(self._late())
        except asyncio.CancelledError:
            # Nobody else does this to a request but a server whose time to stop is over.
            await exchange.fail(UnavailableError("The process has stopped before this was done."))
        except Exception as error:
            log.error("gate_failed", reason=type(error).__name__, exc_info=error)
            await exchange.fail(problem_error(error))
        finally:
            self._record(scope, headers, exchange)
            structlog.contextvars.clear_contextvars()

    async def _answer(self, scope: HTTPScope, headers: dict[str, str], exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        exchange.alarm = loop.call_later(self._timeout, self._end_time, exchange)
        try:
            async with asyncio.timeout(None) as exchange.clock:
                caller = await self._entrance.admit(scope, headers)
                scope["caller"] = caller  # type: ignore[typeddict-unknown-key]
                if self._door.open:
                    self._origins.check_writer(scope["method"], headers)
                if preflight := self._origins.preflight(scope, headers):
                    await exchange.answer(204, preflight, b"")
                    return
                with bound_to(caller.tenants if caller else None):
                    await self._app(scope, exchange.receive, exchange.send)
        finally:
            exchange.alarm.cancel()

    def _end_time(self, exchange: Exchange) -> None:
        """End what takes too long, and answer it also where its end takes long.

        A database that has gone silent is asked for some ten seconds to end a statement.
        """
        loop = asyncio.get_running_loop()
        if exchange.clock:
            exchange.clock.reschedule(loop.time())
        exchange.alarm = loop.call_later(ENDING_SECONDS, exchange.fail_beside, self._late())

    def _late(self) -> UnavailableError:
        return UnavailableError(f"No answer within {self._timeout:g} s.")

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

    def _record(self, scope: HTTPScope, headers: dict[str, str], exchange: Exchange) -> None:
        refused: dict[str, str] = {}
        if exchange.status >= HTTPStatus.BAD_REQUEST:
            key, address = presented_key(headers), address_of(scope)
            if exchange.status in REFUSED:
                refused = {"address": address}
            self._failures.note(scope, key, address, exchange.status, exchange.request_id)
        seconds = time.perf_counter() - exchange.started
        endpoint = str(scope.get("path_template") or "unmatched")
        self._metrics.requests.labels(scope["method"], endpoint, str(exchange.status)).inc()
        self._metrics.request_seconds.labels(scope["method"], endpoint).observe(seconds)
        logs.info(
            log,
            "api",
            "request",
            method=scope["method"],
            endpoint=endpoint,
            status=exchange.status,
            milliseconds=round(seconds * 1000, 1),
            tenant_id=scope.get("tenant_id"),
            bytes=exchange.sent,
            **refused,
        )


def named_reason(error: Exception) -> str:
    """What an error of ours says, however deep in a group of one; empty for any other error."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, MemoryLayerError) else ""
