"""Which answers are a fault's doing, and which are wrong."""

import math
import os
import time
from dataclasses import dataclass, field
from typing import Literal

from bench.chaos.stage import REQUEST_SECONDS
from bench.connection import Answer

# What may become of a request while a fault lasts.
Excuse = Literal["no answer", "503", "late", "degraded"]
NOTHING: frozenset[Excuse] = frozenset()
# What a machine adds to the time of an answer; and more, where more wait for each processor.
SLACK_SECONDS, WAITING_EACH = 3.0, 2.0
# Where things take so much longer, a request's time may be over before it has had its turn.
STARVED = 2.0
PROBLEM = "application/problem+json"
# For so long a provider that failed may be left alone, which is the fault's doing too.
LEFT_ALONE_SECONDS = 35.0
# What a search by meaning alone has in its URL: where another is degraded, it is a 503.
BY_MEANING = "mode=semantic"


@dataclass
class Window:
    """The time of a fault, from its beginning until the service is whole again."""

    kind: str
    excuses: frozenset[Excuse]
    began: float = field(default_factory=time.monotonic)
    ended: float = math.inf


class Windows:
    """The faults so far. What was under way when one began is excused as what came after."""

    def __init__(self) -> None:
        self._windows: list[Window] = []

    def open(self, kind: str, excuses: frozenset[Excuse]) -> Window:
        """A fault begins."""
        window = Window(kind, excuses)
        self._windows.append(window)
        return window

    def excuses(self, began: float, ended: float, target: str = "") -> frozenset[Excuse]:
        """What is excused of a request for `target` that lasted so long."""
        found: set[Excuse] = set()
        for each in self._windows:
            if each.began <= ended:
                found |= each.excuses if each.ended >= began else set()
                left_alone = each.ended + LEFT_ALONE_SECONDS >= began
                found |= each.excuses & {"degraded"} if left_alone else set()
        if BY_MEANING in target and "degraded" in found:
            found.add("503")
        return frozenset(found)


def burden() -> float:
    """How much longer things take on this machine, with what else it does now; at least 1."""
    each = os.getloadavg()[0] / (os.cpu_count() or 1)
    return max(1.0, each / WAITING_EACH)


def latest_seconds() -> float:
    """When an answer is late."""
    return REQUEST_SECONDS + SLACK_SECONDS * burden()


def fault_of(
    outcome: Answer | str, expected: frozenset[int], seconds: float, excused: frozenset[Excuse]
) -> str:
    """What is wrong with the outcome of a request that took `seconds`; empty when nothing is.

    A `str` is why there was no answer.
    """
    if isinstance(outcome, str):
        return "" if "no answer" in excused else f"no answer ({outcome})"
    if seconds > latest_seconds() and "late" not in excused:
        return f"an answer after {seconds:.1f} s"
    if outcome.status in expected:
        return ""
    if outcome.status != 503:
        return f"status {outcome.status}: {outcome.body[:300]!r}"
    clear = outcome.headers.get("content-type", "").startswith(PROBLEM)
    if not (clear and "retry-after" in outcome.headers):
        return f"a 503 that is not clear: {outcome.headers} {outcome.body[:300]!r}"
    if "503" in excused or burden() > STARVED:
        return ""
    return f"a 503 without a cause: {outcome.body[:300]!r}"
