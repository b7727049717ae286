"""What a fault needs to know, and what it says of itself."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bench.chaos.asking import Asker
from bench.chaos.judging import NOTHING, Excuse
from bench.chaos.ledger import Ledger
from bench.chaos.stage import Stage

# What a fault is felt by, and is to be whole again after it.
Felt = Literal["api", "work", "beat"]
End = Callable[[], None]

API: frozenset[Felt] = frozenset({"api"})
WORK: frozenset[Felt] = frozenset({"work"})
BEAT: frozenset[Felt] = frozenset({"beat"})
ALL = API | WORK | BEAT
# Of kinds that are not called after it.
SUBJECTS = {"disk": "postgres", "tasks": "valkey", "broker": "valkey"}


@dataclass(frozen=True)
class Scene:
    """The service, what it is held to, and where chance comes from."""

    stage: Stage
    ledger: Ledger
    asker: Asker
    numbers: random.Random


class Fault(NamedTuple):
    """A kind of fault: `begin` makes it, and gives what ends it.

    It lasts between `seconds`, and while it does `excuses` is what may become of requests.
    """

    kind: str
    felt: frozenset[Felt]
    begin: Callable[[Scene], End]
    excuses: frozenset[Excuse] = NOTHING
    seconds: tuple[float, float] = (0.5, 2.5)

    @property
    def subject(self) -> str:
        """What it is done to: two faults at once are of two subjects."""
        first = self.kind.partition(" ")[0]
        return SUBJECTS.get(first, first)


def over() -> None:
    """What ends a fault that ends by itself."""
