"""A Valkey server of our own (it speaks Redis), from the program of an installed package."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import redis

from cli.child import Child
from cli.embedded import EmbeddedServer, stored_access
from cli.errors import StartError
from cli.leftovers import end, running_in
from cli.lock import prepare_folder
from cli.programs import valkey_program
from cli.records import LOOPBACK, secret, write_private

FILES = "valkey"
PASSWORD = "valkey.password"  # noqa: S105 - the name of a file
PORT = "valkey.port"
CONFIGURATION = "valkey.conf"
STOP_SECONDS = 10.0


class EmbeddedValkey(EmbeddedServer):
    """Valkey. `.url` is that of its first database."""

    name = "valkey"
    title = "Valkey"
    start_seconds = 120.0

    @property
    def url(self) -> str:
        """Raises `StartError` when the server has never been started."""
        return stored_url(self.folder, self._port)

    def launch(self) -> None:
        """Start the server's process without waiting for it."""
        prepare_folder(self.folder)
        files = self.folder / FILES
        files.mkdir(mode=0o700, exist_ok=True)
        # Before the port is chosen, so that it can be the one that the leftover had.
        end(running_in(files, "valkey-server"), signal.SIGTERM, STOP_SECONDS)
        port = self._take_port(self.folder / PORT)
        # The password goes by a private file: everybody can read a process's arguments.
        configuration = self.folder / CONFIGURATION
        password = secret(self.folder / PASSWORD)
        write_private(configuration, _configuration(files, port, password))
        self.child = Child([valkey_program(), configuration], self.log, os.environ)

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
    password, kept = stored_access(EmbeddedValkey, folder, port)
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
