"""Keeps the parts of the service running, and stops them in order."""

import signal
import time
from collections.abc import Callable

from cli.child import Child
from cli.errors import StartError
from cli.part import SUCCESSOR, Part, Program

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
# A part that ran this long was well: its next failure counts as the first.
STEADY_SECONDS = 60.0
POLL_SECONDS = 0.05


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
        # Those that take the place of one of them, or leave it.
        self._beside: list[Program] = []

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
                raise StartError(ended_at_the_start(watched.part.name, child))

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

    def replace(
        self, old: Program, new: Program, seconds: float, pulse: Callable[[], None], number: int
    ) -> None:
        """Start `new` beside `old`, and when it is at work have `old` end, by signal `number`.

        Raises `StartError` when it is not at work within `seconds`; then `old` stays. All other
        parts are seen to meanwhile.
        """
        self._beside = [new]
        try:
            new.launch(**{SUCCESSOR: "1"})
            self._wait_at_work(new, seconds, pulse)
        except (StartError, OSError):
            if new.child:
                new.child.clear()
            self._beside = []
            raise
        place = next(index for index, each in enumerate(self._watched) if each.part is old)
        self._watched[place], self._beside = Watched(new), [old]
        self._wait_ended(old, number, pulse)
        self._beside = []

    def renew(self, part: Program, seconds: float, pulse: Callable[[], None]) -> None:
        """Stop `part` and start it again. Raises `StartError` when it is not at work in time."""
        watched = next(each for each in self._watched if each.part is part)
        part.stop()
        # Where it cannot be started now, it is tried again as any other.
        watched.due, watched.failures = time.monotonic(), 0
        part.launch()
        watched.due = None
        self._wait_at_work(part, seconds, pulse)

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Stop all parts, the last added first."""
        for part in self._beside:
            # One that is not at work yet has nothing to finish.
            part.stop(None if part.at_work else 0.0, hurried)
        while self._watched:
            self._watched.pop().part.stop(hurried=hurried)

    def _wait_at_work(self, part: Program, seconds: float, pulse: Callable[[], None]) -> None:
        until = time.monotonic() + seconds
        while not part.at_work:
            pulse()
            self.check()
            child = part.child
            if child and child.exit_code is not None:
                child.clear()
                raise StartError(ended_at_the_start(part.name, child))
            if time.monotonic() > until:
                said = child.last_lines(1) if child else ""
                raise StartError(f"{part.name} was not ready within {seconds:g} s: {said}")
            time.sleep(POLL_SECONDS)

    def _wait_ended(self, part: Program, number: int, pulse: Callable[[], None]) -> None:
        if part.child is None:
            return
        part.child.signal(number)
        until = time.monotonic() + part.stop_seconds
        while part.child.exit_code is None and time.monotonic() < until:
            pulse()
            self.check()
            time.sleep(POLL_SECONDS)
        part.child.clear()

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


def ended_at_the_start(name: str, child: Child) -> str:
    """What there is to say of a process that was to stay."""
    return f"{name} {ending(child.exit_code)} at the start ({child.log}):\n{child.last_lines()}"


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
