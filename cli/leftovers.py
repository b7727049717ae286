"""Processes that outlived the one that started them."""

import contextlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from cli.errors import StartError

POLL_SECONDS = 0.02


def running_in(folder: Path, program: str) -> list[psutil.Process]:
    """Processes of `program` whose working folder is `folder`, the oldest first.

    The servers work in their data folder, so this finds them even without a pid file.
    """
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != program:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()) == folder.resolve():
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


def marked(variable: str, value: str) -> list[psutil.Process]:
    """Processes, other than this one, that have `variable=value` in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != psutil.Process().pid and process.environ().get(variable) == value:
                found.append(process)
    return found


def end(processes: Sequence[psutil.Process], signal: int, seconds: float) -> None:
    """Send `signal`, wait up to `seconds`, and kill what is left.

    Raises `StartError` when a process may not be ended by this user.
    """
    for process in processes:
        _send(process, signal)
    left = wait_gone(processes, seconds)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_gone(left, 5.0)


def wait_gone(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """The processes that still run after up to `seconds`; zombies count as gone."""
    deadline = time.monotonic() + seconds
    left = [process for process in processes if _runs(process)]
    while left and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        left = [process for process in left if _runs(process)]
    return left


def _send(process: psutil.Process, signal: int) -> None:
    try:
        process.send_signal(signal)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        raise StartError(
            f"Process {process.pid} of an earlier start still runs and belongs to another user:"
            " stop it, or start as that user."
        ) from None


def _runs(process: psutil.Process) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            # Its other threads may still be ending, and until then its sockets are open.
            return bool(process.num_threads() > 1)
        return bool(process.is_running())
    except psutil.NoSuchProcess:
        return False
