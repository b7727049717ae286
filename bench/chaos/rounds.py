"""Rounds of faults: drawn, made, ended, and what is whole again when."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg

from bench.chaos.checks import note, stuck, whole
from bench.chaos.judging import Windows, burden
from bench.chaos.recovering import (
    LIMITS,
    PATIENCE_SECONDS,
    Recovery,
    Shortage,
    beat_resumes,
    wait_for_api,
    work_resumes,
)
from bench.chaos.scene import Fault, Felt, Scene
from bench.chaos.stage import LEASE_SECONDS, SWEEP_SECONDS

SEVERAL = (1, 1, 1, 1, 2, 2, 3)
POLL_SECONDS = 0.1
# The sweep leaves alone what is younger; and the machine may be busy.
GRACE_SECONDS, SLACK_SECONDS = 10.0, 7.0
STUCK_SECONDS = SWEEP_SECONDS + LEASE_SECONDS + GRACE_SECONDS + SLACK_SECONDS
CALM_EVERY = 50
# What has been sent may have its turn later, where workers are short of processors.
TURN_SECONDS = 120.0


@dataclass
class Round:
    """The kinds of faults that were made at once, and the seconds until each part was whole."""

    kinds: tuple[str, ...]
    seconds: dict[Felt, float] = field(default_factory=dict)
    starved: bool = False
    """Whether it took longer than it may, for want of a processor."""


class Rounds:
    """Makes faults, so many as are asked for, each kind as often as any other."""

    def __init__(
        self, scene: Scene, windows: Windows, kinds: Sequence[Fault], say: Callable[[str], None]
    ) -> None:
        self.done: list[Round] = []
        self.scene = scene
        self._windows = windows
        self._say = say
        self._kinds = list(kinds)
        self._deck: deque[Fault] = deque()
        self._recovering: list[tuple[Round, Recovery]] = []
        self._told = 0

    @property
    def faults(self) -> int:
        """How many there were."""
        return sum(len(each.kinds) for each in self.done)

    def make(self, faults: int, until: float) -> None:
        """Make so many, or as many as there is time for."""
        calm = CALM_EVERY
        while self.faults < faults and time.monotonic() < until:
            self.make_one(faults - self.faults)
            if self.faults >= calm:
                calm += CALM_EVERY
                self.stay_calm()

    def make_one(self, most: int) -> None:
        """One round: its faults begin and end, the API is waited for, the store looked into."""
        drawn = self._draw(min(most, self.scene.numbers.choice(SEVERAL)))
        made = Round(tuple(each.kind for each in drawn))
        numbers = self.scene.numbers
        windows, ends = [], []
        for each in drawn:
            windows.append(self._windows.open(each.kind, each.excuses))
            ends.append(each.begin(self.scene))
            time.sleep(numbers.uniform(0, 0.5) if len(drawn) > 1 else 0)
        time.sleep(max(numbers.uniform(*each.seconds) for each in drawn))
        for end in ends:
            end()
        since = time.monotonic()
        self.done.append(made)
        shortage = Shortage(self.scene.stage, "api")
        made.seconds["api"], probe = wait_for_api(self.scene, since)
        self._judge(made, "api", shortage.seconds)
        for window in windows:
            window.ended = time.monotonic()
        felt = frozenset[Felt]().union(*(each.felt for each in drawn))
        if "work" in felt:
            self._recovering.append((made, work_resumes(self.scene, probe, since)))
        if "beat" in felt:
            self._recovering.append((made, beat_resumes(self.scene, since)))
        self.look(f"after {', '.join(made.kinds)}")
        self._tell(made)

    def _tell(self, made: Round) -> None:
        """Say how it goes, for who watches."""
        wrong = self.scene.ledger.wrong[self._told :]
        self._told += len(wrong)
        said = len(self.scene.ledger.said)
        kinds, seconds = ", ".join(made.kinds), made.seconds["api"]
        self._say(f"{self.faults:4} {kinds}: {seconds:.1f} s, {said:,} messages")
        for each in wrong:
            self._say(f"     WRONG: {each[:300]}")

    def look(self, when: str) -> None:
        """Look whether all that was acknowledged is there, once."""
        said = self.scene.ledger.all_said()
        with psycopg.connect(self.scene.stage.database, autocommit=True) as connection:
            note(self.scene.ledger, whole(connection, said), when)

    def stay_calm(self) -> None:
        """No faults for so long that nothing may wait any more but for its turn."""
        self.settle()
        began = time.monotonic()
        time.sleep(STUCK_SECONDS + 1)
        while True:
            calm = time.monotonic() - began
            with psycopg.connect(self.scene.stage.database, autocommit=True) as connection:
                found = stuck(connection, calm, STUCK_SECONDS)
            turns = self.scene.stage.waiting_tasks()
            if not found.any or turns == 0 or calm > TURN_SECONDS * burden():
                break
            time.sleep(1.0)
        note(
            self.scene.ledger, found, f"in the calm after {self.faults} faults, {turns} tasks wait"
        )

    def settle(self) -> None:
        """Wait until all parts are whole again."""
        while self._recovering:
            self._note_recovered()
            time.sleep(POLL_SECONDS)

    def _draw(self, count: int) -> list[Fault]:
        """Faults that are felt by nothing that is not whole again after an earlier one."""
        while True:
            self._note_recovered()
            busy = {recovery.felt for _, recovery in self._recovering}
            if not self._deck:
                self._deck.extend(self.scene.numbers.sample(self._kinds, len(self._kinds)))
            free = {each.subject: each for each in reversed(self._deck) if not each.felt & busy}
            drawn = [each for each in self._deck if free.get(each.subject) is each][:count]
            if drawn:
                for each in drawn:
                    self._deck.remove(each)
                return drawn
            time.sleep(POLL_SECONDS)

    def _note_recovered(self) -> None:
        left = []
        for made, recovery in self._recovering:
            if recovery.under_way:
                left.append((made, recovery))
                continue
            seconds = recovery.seconds
            made.seconds[recovery.felt] = PATIENCE_SECONDS if seconds is None else seconds
            self._judge(made, recovery.felt, recovery.starved)
        self._recovering = left

    def _judge(self, made: Round, felt: Felt, starved: float) -> None:
        seconds = made.seconds[felt]
        if seconds <= LIMITS[felt]:
            return
        if seconds - starved <= LIMITS[felt]:
            made.starved = True
            return
        kinds = ", ".join(made.kinds)
        without = f"{starved:.1f} s of them without a processor"
        self.scene.ledger.note_wrong(f"{kinds}: {felt} was whole after {seconds:.1f} s, {without}")
