"""One part of the service, as the supervisor sees it."""

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cli.child import Child

# Marks the processes of a data folder, so that the next start finds those that a killed one left.
INSTANCE = "AIML_INSTANCE"
# `aiml up` names a file in this variable, which a worker makes once it takes tasks.
READY_FILE = "AIML_READY_FILE"


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
    """A part that is one of our own commands: SIGTERM ends it in order."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        logs: Path,
        environment: Mapping[str, str],
        stop_seconds: float = 10.0,
    ) -> None:
        self.name = name
        self.child: Child | None = None
        self._command = command
        self._log = logs / f"{name}.log"
        self._environment = environment
        self._stop_seconds = stop_seconds

    def launch(self) -> None:
        """Start the process, in the folder of this one, so that both read the same `.env`."""
        self.child = Child(self._command, self._log, self._environment, folder=Path.cwd())

    def stop(
        self, seconds: float | None = None, hurried: Callable[[], bool] = lambda: False
    ) -> None:
        """End the process and its children, within `seconds` (default: what this part needs)."""
        if self.child is None:
            return
        self.child.signal(signal.SIGTERM)
        self.child.wait(self._stop_seconds if seconds is None else seconds, hurried)
        self.child.clear()
        self.child = None


def command(part: str) -> list[str]:
    """The command line that runs a part in a process of its own."""
    return [sys.executable, "-m", "cli.main", part]
