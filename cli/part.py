"""One part of the service, as the supervisor sees it."""

import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cli.child import Child
from cli.listening import passed_on
from cli.start_line import START_LINE, StartLine

# Marks the processes of a data folder, so that the next start finds those that a killed one left.
INSTANCE = "AIML_INSTANCE"
# `aiml up` names a file in this variable, which API and worker make once they are at work.
READY_FILE = "AIML_READY_FILE"
# Set for one that starts beside the one whose place it takes: it takes no traffic before it can.
SUCCESSOR = "AIML_SUCCESSOR"
# Set so that two workers on one machine have two names.
NAME_SUFFIX = "AIML_NAME_SUFFIX"


class Part(Protocol):
    """Something that runs as one child process; the embedded servers are such parts too."""

    name: str
    child: Child | None

    def launch(self) -> None:
        """Start the process. Raises `StartError` or `OSError`."""
        ...

    def stop(self, seconds: float = ..., hurried: Callable[[], bool] = ...) -> None:
        """End it: in order within `seconds` and until `hurried`, then by force."""
        ...


class Program:
    """A part that is one of our own commands: SIGTERM ends it in order.

    When it is at work it makes the file `ready`, if it is given one, and it `answers`. It inherits
    `sockets`. The first time it waits at `line`, if it is given one.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        logs: Path,
        environment: Mapping[str, str],
        stop_seconds: float = 10.0,
        ready: Path | None = None,
        sockets: Sequence[socket.socket] = (),
        answers: Callable[[], bool] = lambda: True,
        line: StartLine | None = None,
    ) -> None:
        self.name = name
        self.child: Child | None = None
        self.ready = ready
        self.stop_seconds = stop_seconds
        self._command = command
        self._log = logs / f"{name}.log"
        self._environment = dict(environment) | passed_on(sockets)
        if ready:
            self._environment[READY_FILE] = str(ready)
        self._sockets = sockets
        self._answers = answers
        self._line = line

    @property
    def at_work(self) -> bool:
        """Whether it is ready for what it is there for."""
        return (self.ready is None or self.ready.exists()) and self._answers()

    def launch(self, **more: str) -> None:
        """Start the process, in the folder of this one, so that both read the same `.env`.

        With `more` variables, this time only.
        """
        if self.ready:
            self.ready.unlink(missing_ok=True)
        descriptors = [each.fileno() for each in self._sockets]
        if self._line:
            descriptors.append(self._line.waiting)
            more |= {START_LINE: str(self._line.waiting)}
            self._line = None
        self.child = Child(
            self._command,
            self._log,
            {**self._environment, **more},
            folder=Path.cwd(),
            descriptors=descriptors,
        )

    def stop(
        self, seconds: float | None = None, hurried: Callable[[], bool] = lambda: False
    ) -> None:
        """End the process and its children, within `seconds` (default: what this part needs)."""
        if self.child is None:
            return
        self.child.signal(signal.SIGTERM)
        self.child.wait(self.stop_seconds if seconds is None else seconds, hurried)
        self.child.clear()
        self.child = None


def command(part: str) -> list[str]:
    """The command line that runs a part in a process of its own."""
    return [sys.executable, "-m", "cli.main", part]
