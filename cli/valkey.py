"""A Valkey server of our own (it speaks Redis), from the program of an installed package."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

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
ANSWER_SECONDS = 5.0
# In its own protocol: the client's library takes longer to load than the server to start.
ANSWER = b"+OK\r\n+PONG\r\n"
REFUSED = (b"-WRONGPASS", b"-ERR", b"-NOAUTH")


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
        password, port = stored_access(EmbeddedValkey, self.folder, self._port)
        try:
            said = _asked(int(port), f"AUTH {password}\r\nPING\r\n".encode())
        except OSError:
            return False
        if said.startswith(REFUSED):
            raise StartError(f"Another server answers on port {port}.")
        return said == ANSWER


def stored_url(folder: Path, port: int | None = None) -> str:
    """The URL of the server under `folder`, from what its last start wrote there.

    Raises `StartError` when there was none.
    """
    password, kept = stored_access(EmbeddedValkey, folder, port)
    return f"redis://:{password}@{LOOPBACK}:{kept}/0"


def _asked(port: int, what: bytes) -> bytes:
    """The answer of two lines, or as much of it as came before the server closed."""
    said = b""
    with socket.create_connection((LOOPBACK, port), ANSWER_SECONDS) as connection:
        connection.sendall(what)
        while said.count(b"\n") < 2 and (more := connection.recv(1024)):
            said += more
    return said


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
