"""A restart part by part, in which somebody answers at any time."""

import signal
import time
from collections.abc import Callable

from api.signals import HAND_OVER
from cli.control import Answer
from cli.errors import StartError
from cli.part import Program
from cli.supervisor import Supervisor

# Time for a model to load; past it something is wrong.
READY_SECONDS = 120.0
# Of these the new one starts beside the old one, which ends by this signal.
BESIDE = {"api": HAND_OVER, "worker": signal.SIGTERM}


class Rolling:
    """Restarts the programs of a supervisor; `fresh` makes a new one in the place of another."""

    def __init__(
        self,
        supervisor: Supervisor,
        fresh: Callable[[Program], Program],
        pulse: Callable[[], None],
    ) -> None:
        self._supervisor = supervisor
        self._fresh = fresh
        self._pulse = pulse

    def restart(
        self, programs: dict[str, Program], migrate: Callable[[], None], to: Answer
    ) -> None:
        """Migrate, then restart `programs`, which is changed; `to` is told all.

        What fails ends it: the part that should have been replaced stays, and those after it.
        """
        try:
            to.say("Bringing the schema up to date ...")
            migrate()
            # Who answers first; the one that says what is due must not know more than who does it.
            for name in [each for each in ("api", "worker", "beat", "flower") if each in programs]:
                started = time.monotonic()
                programs[name] = self._restart(programs[name])
                child = programs[name].child
                pid = f" (process {child.pid})" if child else ""
                to.say(f"{name} is new after {time.monotonic() - started:.1f} s{pid}")
        except (StartError, OSError) as error:
            to.end(f"{error}\nWhat was not named above goes on as it was.")
        else:
            to.end()

    def _restart(self, old: Program) -> Program:
        if old.name not in BESIDE:
            self._supervisor.renew(old, READY_SECONDS, self._pulse)
            return old
        new = self._fresh(old)
        self._supervisor.replace(old, new, READY_SECONDS, self._pulse, BESIDE[old.name])
        return new
