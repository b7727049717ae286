"""One process that this one started, with its log."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from cli.accounts import Account
from cli.excerpt import excerpt
from cli.rotation import follow

POLL_SECONDS = 0.02
LAST_LINES = 50


class Child:
    """A process in a session of its own, so that Ctrl-C reaches only the one that started it.

    It inherits `descriptors`. Its standard output and error go to a bounded file at `log`.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str],
        account: Account | None = None,
        folder: Path = Path("/"),
        descriptors: Sequence[int] = (),
    ) -> None:
        """Raises `OSError` when the program cannot be started."""
        self.log = log
        self.started = time.monotonic()
        # Not read from the log: another process may write into it, too.
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)
        self.process = subprocess.Popen(  # noqa: S603 - programs of ours
            [str(part) for part in command],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=descriptors,
            **(account.popen_arguments() if account else {}),
        )
        pipe: IO[bytes] | None = self.process.stdout
        self._copying: threading.Thread | None = follow(pipe, log, self._last) if pipe else None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self.process.poll()

    def signal(self, number: int) -> None:
        """Send a signal to the process alone, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self, seconds: float, hurried: Callable[[], bool] = lambda: False) -> bool:
        """Whether the process has ended within `seconds`, or before `hurried` is true."""
        deadline = time.monotonic() + seconds
        while self.exit_code is None:
            if time.monotonic() > deadline or hurried():
                return False
            time.sleep(POLL_SECONDS)
        return True

    def clear(self) -> None:
        """Kill what is left of the process and of its own children, and finish its log."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self._copying:
            self._copying.join(timeout=2.0)

    def last_lines(self, count: int = 5) -> str:
        """The end of what it has written, for an error message."""
        return excerpt(list(self._last), count)
