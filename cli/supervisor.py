"""Keeps the parts of the service running, and stops them in order."""

import signal
import time
from collections.abc import Callable

from cli.errors import StartError
from cli.part import Part

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
# A part that ran this long was well: its next failure counts as the first.
STEADY_SECONDS = 60.0


class Supervisor:
    """Restarts what dies, each time later: 0.5 s, 1 s, 2 s ... 30 s after it ended.

    `say` gets one line for each event.
    """

    def __init__(
        self, say: Callable[[str], None], first_delay: float = FIRST_DELAY_SECONDS
    ) -> None:
        self._say = say
        self._first_delay = first_delay
        self._watched: list[Watched] = []

    def add(self, part: Part) -> None:
        """Start `part` and watch it from now on. Raises `StartError` or `OSError`."""
        # Known before it runs, so that a stop in between ends it too.
        self._watched.append(Watched(part))
        part.launch()

    def check_started(self) -> None:
        """Raise `StartError` when a part has ended: at the start that is no accident."""
        for watched in self._watched:
            child = watched.part.child
            if child and child.exit_code is not None:
                child.clear()
                raise StartError(
                    f"{watched.part.name} {ending(child.exit_code)} at the start"
                    f" ({child.log}):\n{child.last_lines()}"
                )

    def check(self) -> None:
        """Look at each part once: note what died, start again what is due."""
        now = time.monotonic()
        for watched in self._watched:
            child = watched.part.child
            if watched.due is None:
                if child and child.exit_code is not None:
                    child.clear()
                    steady = now - child.started >= STEADY_SECONDS
                    self._plan(watched, ending(child.exit_code), steady)
            elif now >= watched.due:
                self._restart(watched)

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Stop all parts, the last added first."""
        while self._watched:
            self._watched.pop().part.stop(hurried=hurried)

    def _plan(self, watched: "Watched", what: str, steady: bool) -> None:
        watched.failures = 0 if steady else watched.failures
        delay = min(self._first_delay * 2**watched.failures, LONGEST_DELAY_SECONDS)
        watched.failures += 1
        watched.due = time.monotonic() + delay
        self._say(f"{watched.part.name} {what}; it starts again in {delay:g} s")

    def _restart(self, watched: "Watched") -> None:
        watched.due = None
        try:
            watched.part.launch()
        except (StartError, OSError) as error:
            self._plan(watched, f"could not start ({error})", steady=False)
        else:
            self._say(f"{watched.part.name} runs again (process {_pid(watched.part)})")


class Watched:
    """A part, how often it failed in a row, and when it is to start again (None: it runs)."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.failures = 0
        self.due: float | None = None


def ending(exit_code: int | None) -> str:
    """How a process ended, in words."""
    if exit_code is None or exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was killed by signal {-exit_code}"


def _pid(part: Part) -> int | None:
    return part.child.pid if part.child else None
