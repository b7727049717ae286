"""Keeping a part at work: what dies is started again soon."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from cli.errors import StartError
from cli.part import Part

# What `aiml up` waits before it starts a part again that has run for a minute. For one that died
# again before that it waits longer; here come by the minute faults that lie days apart elsewhere.
AGAIN_SECONDS = 0.5
POLL_SECONDS = 0.05


class Kept:
    """A part that is started again when it has ended, in a thread of its own."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.starts = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Start it, and keep it at work from now on."""
        self.part.launch()
        self.starts += 1
        self._thread.start()

    def stop(self) -> None:
        """End it for good."""
        self._ended.set()
        self._thread.join()
        self.signal(signal.SIGCONT)
        self.part.stop()

    def signal(self, number: int) -> None:
        """Send a signal to its process and to all that it has started."""
        for process in self.processes():
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def processes(self) -> list[psutil.Process]:
        """Its process and what that has started, the first first; none while it does not run."""
        return list(self._processes())

    def waited(self) -> dict[int, float]:
        """The seconds that each of its processes was ready to run and got no processor."""
        return {process.pid: _waited(process.pid) for process in self.processes()}

    def _processes(self) -> Iterator[psutil.Process]:
        child = self.part.child
        if child is None or child.exit_code is not None:
            return
        try:
            first = psutil.Process(child.pid)
            yield first
            yield from first.children(recursive=True)
        except psutil.NoSuchProcess:
            return

    def _keep(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            child = self.part.child
            if child is not None and child.exit_code is None:
                continue
            if child is not None:
                child.clear()
            until = time.monotonic() + AGAIN_SECONDS
            while time.monotonic() < until and not self._ended.is_set():
                time.sleep(POLL_SECONDS)
            if self._ended.is_set():
                return
            try:
                self.part.launch()
                self.starts += 1
            except (StartError, OSError):
                # A server whose disk is full, say: it is tried again.
                continue


def _waited(pid: int) -> float:
    # Of the main thread, which is the one that starts.
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0
