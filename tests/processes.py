"""Processes in the place of containers, so that pytest-celery's nodes run without Docker."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for `condition`; fails the test when it does not hold in time.

    The time is for a machine that has much else to do. Who names a shorter one says that it is
    about the time, and takes one that is far above what it needs.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


class ProcessContainer:
    """A process behind the part of a container's interface that `CeleryTestNode` uses."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ):
        self.name = name
        self._command = command
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the process in a group of its own."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        assert self._process is not None
        return self._process

    @property
    def id(self) -> str:
        """What stands for a container's id."""
        return str(self.process.pid)

    @property
    def status(self) -> str:
        """`running` or `exited`, as Docker has it."""
        return "running" if self.process.poll() is None else "exited"

    def ready(self) -> bool:
        """Whether it runs."""
        return self.status == "running"

    def logs(self) -> str:
        """All it has printed."""
        return self._log.read_text()

    def reload(self) -> None:
        """A process needs none."""

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Signal the process; SIGKILL goes to its children too, as when a container is killed."""
        number = getattr(globals()["signal"], signal) if isinstance(signal, str) else signal
        if number == globals()["signal"].SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        self.process.wait(timeout=30)

    def kill_children(self) -> None:
        """SIGKILL what the process has forked, not the process."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            child.kill()

    def restart(self, timeout: float = 30) -> None:
        """Stop the process and start it again."""
        if self.status == "running":
            self.process.terminate()
            self.process.wait(timeout=timeout)
        self.start()

    def teardown(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)
