"""Limits that are kept in this process, by the same rules as `api/windows.lua` in Redis."""

import math
from collections import OrderedDict, deque
from collections.abc import Sequence

from memory.limits import Hit, Limit, Standing, merged
from memory.remembering import remember

# A hit counts until all of the part in which it came has left the window, so that no window of
# the limit's length ever holds more than the limit, however it lies. A hit may count for 1/64 of
# the window too long. With this number every part is a whole number of microseconds.
PARTS = 64
MICROSECONDS = 1_000_000
MOST_WINDOWS = 10_000


class Window:
    """What came lately for one key and limit: how much, in each part that had any."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._width = limit.seconds * MICROSECONDS // PARTS
        self._parts: deque[tuple[int, int]] = deque()
        self.total = 0

    @property
    def remaining(self) -> int:
        """What may still come."""
        return self._limit.amount - self.total

    def forget(self, now: int) -> None:
        """Drop what has left the window at `now`."""
        while self._parts and self._end(self._parts[0][0]) <= now:
            self.total -= self._parts.popleft()[1]

    def add(self, cost: int, now: int) -> None:
        """Count `cost`, which came at `now`."""
        part = now // self._width
        same = self._parts.pop()[1] if self._parts and self._parts[-1][0] == part else 0
        self._parts.append((part, same + cost))
        self.total += cost

    def wait(self, cost: int, now: int) -> float:
        """The microseconds until `cost` may come, 0 when it may now; infinite for never."""
        excess = cost - self.remaining
        if excess <= 0:
            return 0
        for part, count in self._parts:
            excess -= count
            if excess <= 0:
                return self._end(part) - now
        return math.inf

    def reset(self, now: int) -> int:
        """The microseconds until nothing counts any more."""
        return self._end(self._parts[-1][0]) - now if self._parts else 0

    def _end(self, part: int) -> int:
        return (part + 1 + PARTS) * self._width


class Windows:
    """At most 10,000 windows: of more, those that were counted in longest ago are forgotten.

    In one that is forgotten nothing counts any more. Not safe to share among threads.
    """

    def __init__(self, most: int = MOST_WINDOWS) -> None:
        self._most = most
        self._windows: OrderedDict[str, Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def admit(self, hits: Sequence[Hit], now: int) -> Standing:
        """Count all of `hits`, of which there is one or more, or none when a limit refuses.

        `now` is in microseconds of a clock that never goes back.
        """
        counted = [(hit, self._window(hit, now)) for hit in merged(hits)]
        waits = [window.wait(max(hit.cost, 1), now) for hit, window in counted]
        longest = max(waits)
        if longest > 0:
            hit, window = counted[waits.index(longest)]
            return standing(hit, window.remaining, window.reset(now), longest)
        for hit, window in counted:
            if hit.cost:
                window.add(hit.cost, now)
                remember(self._windows, hit.window, window, self._most)
        hit, window = min(counted, key=lambda each: each[1].remaining / each[0].limit.amount)
        return standing(hit, window.remaining, window.reset(now), None)

    def _window(self, hit: Hit, now: int) -> Window:
        window = self._windows.get(hit.window) or Window(hit.limit)
        window.forget(now)
        return window


def standing(hit: Hit, remaining: int, reset: int, wait: float | None) -> Standing:
    """How it stands with the limit of `hit`; `reset` and `wait` are in microseconds."""
    seconds = None if wait is None else wait / MICROSECONDS
    return Standing(hit, remaining, reset / MICROSECONDS, seconds)
