"""The processor time of processes with their children, those that have ended among them."""

import contextlib
from collections.abc import Mapping

import psutil  # type: ignore[import-untyped]

from bench.serving import busy_seconds


class Spent:
    """The processor time of some processes, each with all that it has started, from now on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._before = {name: spent(pid) for name, pid in pids.items()}

    def since(self) -> dict[str, float]:
        """The seconds of each until now, by name."""
        return {name: spent(pid) - self._before[name] for name, pid in self._pids.items()}


def spent(pid: int) -> float:
    """The seconds that the process and its children have had so far.

    Children that have ended count in hundredths, as the system has them.
    """
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        # One of them may end meanwhile: its parent then has its time.
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, OSError):
            ended = process.cpu_times()
            total += busy_seconds(process.pid) + ended.children_user + ended.children_system
    return total


def resident_megabytes(pid: int) -> list[float]:
    """The resident memory of the process and of each that it has started, in MB."""
    root = psutil.Process(pid)
    return [each.memory_info().rss / 1e6 for each in (root, *root.children(recursive=True))]
