"""Signals that ask this process to stop."""

import signal
from types import FrameType


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked for it
    """A signal asked for the end."""


class Interrupts:
    """Notes SIGINT, SIGTERM and SIGHUP from now on; nothing is interrupted by them."""

    def __init__(self) -> None:
        self._come: list[int] = []
        signal.signal(signal.SIGINT, self._note)
        signal.signal(signal.SIGTERM, self._note)
        # Ignored means started with nohup, and that is to be respected.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._note)

    def pulse(self) -> None:
        """Raise `Stopped` when a signal has come."""
        if self._come:
            raise Stopped

    def hurried(self) -> bool:
        """Whether Ctrl-C was pressed after the stop was asked for.

        Only Ctrl-C counts: a SIGTERM to a process group comes twice when make passes it on.
        """
        return signal.SIGINT in self._come[1:]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._come.append(number)
