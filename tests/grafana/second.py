"""A second API beside the first, on a way of its own to the same database."""

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
from sqlalchemy import make_url

from memory.settings import Settings
from tests.ports import free_port
from tests.processes import ProcessContainer, wait_until
from tests.workers import environment

PIECE = 65_536


class Way:
    """Hands on the bytes of connections to a server, until it is cut."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._is_cut = False
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Nobody comes through any more."""
        with self._lock:
            self._is_cut = True
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                with self._lock:
                    self._open.append(near)
                    if self._is_cut:
                        near.close()
                        return
                    far = socket.create_connection(self._server)
                    self._open.append(far)
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=hand_on, args=ends, daemon=True).start()


def hand_on(source: socket.socket, target: socket.socket) -> None:
    """All bytes that come, until one side ends."""
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def second_api(settings: Settings, folder: Path) -> Iterator[tuple[int, Way]]:
    """The port of an API that answers, and its way to the database."""
    url = make_url(settings.database_url)
    way = Way((url.host or "127.0.0.1", url.port or 5432))
    theirs = url.set(host="127.0.0.1", port=way.port).render_as_string(hide_password=False)
    settings = msgspec.structs.replace(settings, database_url=theirs, api_port=free_port())
    command = [sys.executable, "-m", "cli.main", "api"]
    process = ProcessContainer("second", command, environment(settings), folder / "second.log")

    def ready() -> bool:
        assert process.ready(), process.logs()
        with contextlib.suppress(httpx.TransportError):
            path = f"http://127.0.0.1:{settings.api_port}/v1/admin/readiness"
            return httpx.get(path, timeout=10).status_code == 200
        return False

    try:
        wait_until(ready, "the second API is ready")
        yield settings.api_port, way
    finally:
        process.teardown()
        way.cut()
