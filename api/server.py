"""Serving the API with uvicorn."""

import contextlib
import socket
import sys

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from api.app import create_app
from api.gate import Gate
from api.protocol import Protocol
from memory.logs import configure_logging
from memory.settings import Settings

GRACE_SECONDS = 10


class Server(uvicorn.Server):
    """Ends the event streams before it waits for the requests at hand: they end by nothing else."""

    def __init__(self, gate: Gate, host: str, port: int) -> None:
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
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._gate = gate

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and let those at hand finish."""
        self._gate.end_streams()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then let the requests at hand finish.

    Ends the process with code 3, and a line in the log that says why, when the port is taken or
    the store must not be served as it is.
    """
    configure_logging(settings.log_level, "api")
    server = Server(create_app(settings), settings.api_host, settings.api_port)
    # Which uvicorn raises again when it has ended because of it.
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)
