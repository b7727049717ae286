"""What the embedded servers have in common."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from cli.child import Child
from cli.errors import StartError
from cli.records import LOOPBACK, loopback_port, port_is_free, recorded

POLL_SECONDS = 0.02


class EmbeddedServer(ABC):
    """A server on 127.0.0.1 with its data under `folder`, which the caller alone uses.

    `port` None takes the port of the last start, or a free one. `pulse` is called while waiting
    and may raise to give up.
    """

    name: str
    title: ClassVar[str]
    start_seconds: ClassVar[float]

    def __init__(
        self, folder: Path, port: int | None = None, pulse: Callable[[], None] = lambda: None
    ) -> None:
        self.folder = folder
        self.child: Child | None = None
        self._port = port
        self._pulse = pulse

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it. Raises `StartError` when it has never been started."""

    @property
    def pid(self) -> int | None:
        """The process id of the server, None when it does not run."""
        return self.child.pid if self.child and self.child.exit_code is None else None

    @property
    def log(self) -> Path:
        """What the server prints, a bounded file."""
        return self.folder / "logs" / f"{self.name}.log"

    def start(self) -> None:
        """Start the server, with new files when there are none, and wait until it answers.

        A server that an earlier, killed process left behind is stopped first. Raises `StartError`.
        """
        self.launch()
        self.wait_ready()

    @abstractmethod
    def launch(self) -> None:
        """Start the server's process without waiting for it."""

    def wait_ready(self) -> None:
        """Wait until the server answers. Raises `StartError`."""
        deadline = time.monotonic() + self.start_seconds
        while not self._answers():
            self._pulse()
            if self.child is None or self.child.exit_code is not None:
                said = self.child.last_lines(3) if self.child else ""
                raise StartError(f"{self.title} did not start ({self.log}):\n{said}")
            if time.monotonic() > deadline:
                seconds = f"{self.start_seconds:.0f} s"
                raise StartError(f"{self.title} did not answer in {seconds} ({self.log})")
            time.sleep(POLL_SECONDS)

    @abstractmethod
    def stop(self, seconds: float = ..., hurried: Callable[[], bool] = ...) -> None:
        """End it: in order within `seconds` and until `hurried`, then at once."""

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

    @abstractmethod
    def _answers(self) -> bool: ...

    def _take_port(self, record: Path) -> int:
        """The port to listen on; raises `StartError` when the one that was asked for is in use."""
        if self._port is None:
            self._port = loopback_port(record)
        elif not port_is_free(LOOPBACK, self._port):
            raise StartError(f"Port {self._port} is in use; {self.title} cannot start there.")
        return self._port


def stored_access(
    server: type[EmbeddedServer], folder: Path, port: int | None = None
) -> tuple[str, str]:
    """The password and the port of the server under `folder`, as its last start wrote them.

    Raises `StartError` when there was none.
    """
    password = recorded(folder / f"{server.name}.password")
    kept = str(port) if port else recorded(folder / f"{server.name}.port")
    if not password or not kept:
        raise StartError(f"No embedded {server.title} was ever started in {folder}.")
    return password, kept
