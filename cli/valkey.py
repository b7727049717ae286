"""A Valkey server of our own (it speaks Redis), from the program of an installed package."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from cli.child import Child
from cli.errors import StartError
from cli.leftovers import end, running_in
from cli.lock import prepare_folder
from cli.programs import valkey_program
from cli.records import LOOPBACK, loopback_port, port_is_free, recorded, secret, write_private

FILES = "valkey"
PASSWORD = "valkey.password"  # noqa: S105 - the name of a file
PORT = "valkey.port"
CONFIGURATION = "valkey.conf"
START_SECONDS = 120.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02


class EmbeddedValkey:
    """A server on 127.0.0.1 with its data under `folder`, which the caller alone uses.

    `port` None takes the port of the last start, or a free one. `pulse` is called while waiting
    and may raise to give up.
    """

    name = "valkey"

    def __init__(
        self, folder: Path, port: int | None = None, pulse: Callable[[], None] = lambda: None
    ) -> None:
        self.folder = folder
        self.child: Child | None = None
        self._port = port
        self._pulse = pulse

    @property
    def url(self) -> str:
        """Raises `StartError` when the server has never been started."""
        return stored_url(self.folder, self._port)

    @property
    def pid(self) -> int | None:
        """The process id of the server, None when it does not run."""
        return self.child.pid if self.child and self.child.exit_code is None else None

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "valkey.log"

    def start(self) -> None:
        """Start the server and wait until it answers.

        A server that an earlier, killed process left behind is stopped first. Raises `StartError`.
        """
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the server's process without waiting for it."""
        prepare_folder(self.folder)
        files = self.folder / FILES
        files.mkdir(mode=0o700, exist_ok=True)
        # Before the port is chosen, so that it can be the one that the leftover had.
        end(running_in(files, "valkey-server"), signal.SIGTERM, STOP_SECONDS)
        if self._port is None:
            self._port = loopback_port(self.folder / PORT)
        elif not port_is_free(LOOPBACK, self._port):
            raise StartError(f"Port {self._port} is in use; Valkey cannot start there.")
        # The password goes by a private file: everybody can read a process's arguments.
        configuration = self.folder / CONFIGURATION
        password = secret(self.folder / PASSWORD)
        write_private(configuration, _configuration(files, self._port, password))
        self.child = Child([valkey_program(), configuration], self.log, os.environ)

    def wait_ready(self) -> None:
        """Wait until the server answers. Raises `StartError`."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            self._pulse()
            if self.child is None or self.child.exit_code is not None:
                said = self.child.last_lines(3) if self.child else ""
                raise StartError(f"Valkey did not start ({self.log}):\n{said}")
            if time.monotonic() > deadline:
                raise StartError(f"Valkey did not answer in {START_SECONDS:.0f} s ({self.log})")
            time.sleep(POLL_SECONDS)

    def stop(
        self, seconds: float = STOP_SECONDS, hurried: Callable[[], bool] = lambda: False
    ) -> None:
        """Write everything out and stop, within `seconds` and until `hurried`; then at once."""
        if self.child is None:
            return
        self.child.signal(signal.SIGTERM)
        self.child.wait(seconds, hurried)
        self.child.clear()
        self.child = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=5)
        try:
            return bool(client.ping())
        except redis.AuthenticationError:
            raise StartError(f"Another server answers on port {self._port}.") from None
        except redis.RedisError:
            return False
        finally:
            client.close()


def stored_url(folder: Path, port: int | None = None) -> str:
    """The URL of the server under `folder`, from what its last start wrote there.

    Raises `StartError` when there was none.
    """
    password, kept = recorded(folder / PASSWORD), port or recorded(folder / PORT)
    if not password or not kept:
        raise StartError(f"No embedded Valkey was ever started in {folder}.")
    return f"redis://:{password}@{LOOPBACK}:{kept}/0"


def _configuration(files: Path, port: int, password: str) -> str:
    place = str(files).replace("\\", "\\\\").replace('"', '\\"')
    lines = (
        f"bind {LOOPBACK}",
        f"port {port}",
        f'dir "{place}"',
        f"requirepass {password}",
        "maxmemory-policy noeviction",
        "appendonly yes",
        "appendfsync everysec",
        # The append-only file holds everything; snapshots beside it would only cost.
        'save ""',
        "daemonize no",
    )
    return "\n".join(lines) + "\n"
