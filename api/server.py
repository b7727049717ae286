"""Serving the API with uvicorn."""

import asyncio
import gc
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NamedTuple

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from api.app import create_app
from api.gate import Gate
from api.protocol import Protocol, State
from api.signals import HAND_OVER
from memory.logs import configure_logging
from memory.settings import Settings

# uvicorn looks once in so long whether it is to end.
TICK_SECONDS = 0.1
TICKS_A_SECOND = 10
# So many more objects than before are looked through for what only points at itself.
GARBAGE_OBJECTS = 20_000

log = structlog.get_logger(__name__)


class Times(NamedTuple):
    """How long a connection is kept without a request, and how long the steps of a stop last."""

    keep_alive: float = 5.0
    drain: float = 0.0
    stop: float = 30.0


class Server(uvicorn.Server):
    """Stops in steps: proxies are told first, then nobody new is let in, then requests finish.

    A second signal ends the waiting.
    """

    server_state: State

    def __init__(
        self,
        gate: Gate,
        host: str,
        port: int,
        times: Times = Times(),  # noqa: B008 - a constant
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        proxies = gate.trusted_proxies
        super().__init__(
            uvicorn.Config(
                gate,
                host=host,
                port=port,
                http=Protocol,
                # There is nothing to talk of over WebSockets, and their door would have no keeper.
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                # Or uvicorn believes whoever is on this machine about who and where they are.
                proxy_headers=bool(proxies),
                forwarded_allow_ips="*" if "*" in proxies else proxies,
                timeout_keep_alive=times.keep_alive,  # type: ignore[arg-type]
                timeout_graceful_shutdown=times.stop,  # type: ignore[arg-type]
            )
        )
        self.server_state = State()
        self._gate = gate
        self._times = times
        self._on_start = on_start
        self._handing_over = False
        self._hurried = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to stop; a second signal hurries. In place of uvicorn's, which ends by the signal.

        Of a process that has stopped in order the exit code is to be 0.
        """
        self._hurried = self.should_exit
        self._handing_over = sig == HAND_OVER and not self._hurried
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets)
        # All that there is now stays; the collector would look through it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_OBJECTS)
        for listener in sockets or ():
            log.info("listening", address=listener.getsockname()[:2])
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and let those at hand finish."""
        self.server_state.leaving = True
        if not self._handing_over and self._times.drain:
            self._gate.turn_away()
            log.info("draining", seconds=self._times.drain)
            await self._unless_hurried(lambda: False, self._times.drain)
        for server in self.servers:
            server.close()
        # They end by nothing else.
        self._gate.end_streams()
        for connection in list(self.server_state.connections):
            if isinstance(connection, Protocol):
                connection.take_leave()
        if self._handing_over:
            # Closed just when its caller sends a request, a connection without one would fail it.
            # So each has the time that it always has, and what comes is answered.
            await self._unless_hurried(
                lambda: not self.server_state.connections, self._times.keep_alive
            )
        await super().shutdown(sockets)

    async def _unless_hurried(self, over: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        ticks = 0
        while not over() and not self._hurried and time.monotonic() < until:
            ticks += 1
            if ticks % TICKS_A_SECOND == 0:
                # So that the answers' date goes on.
                await self.on_tick(0)
            await asyncio.sleep(TICK_SECONDS)

    async def _wait_tasks_to_complete(self) -> None:
        waiting = asyncio.ensure_future(super()._wait_tasks_to_complete())
        try:
            while not waiting.done():
                if self._hurried:
                    raise TimeoutError
                await asyncio.wait([waiting], timeout=TICK_SECONDS)
        finally:
            waiting.cancel()


def serve(
    settings: Settings,
    sockets: Sequence[socket.socket] = (),
    *,
    patient: bool = False,
    on_start: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM, then let the requests at hand finish.

    On `sockets`, which listen already, or else on the address of the settings; `patient`: not
    before the store can be served. `on_start` is told when connections are taken. Ends the process
    with code 3, and a line in the log that says why, when the port is taken or the store must not
    be served as it is.
    """
    configure_logging(settings.log_level, "api")
    times = Times(
        settings.api_keep_alive_seconds, settings.api_drain_seconds, settings.api_stop_seconds
    )
    gate = create_app(settings, patient=patient)
    server = Server(gate, settings.api_host, settings.api_port, times, on_start)
    signal.signal(HAND_OVER, server.handle_exit)
    server.run(list(sockets) or None)
    if not server.started:
        sys.exit(STARTUP_FAILURE)
