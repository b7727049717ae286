"""How many requests may still be sent, and by whom."""

from collections.abc import Callable


def share_of(total: int, index: int, makers: int) -> int:
    """The part of `total` requests that the process `index` of `makers` sends; all add up to it."""
    return total // makers + (index % makers < total % makers)


class Allowance:
    """The requests that a process may send; tells once when all of them were sent and answered."""

    def __init__(self, requests: int, when_spent: Callable[[], object]) -> None:
        """0 `requests` are as many as the time allows."""
        self._bounded = requests > 0
        self._left = requests
        self._under_way = 0
        self._when_spent = when_spent

    def take(self) -> bool:
        """Whether one more may be sent; who was told so gives it back with `done`."""
        if self._bounded and not self._left:
            return False
        self._left -= 1
        self._under_way += 1
        return True

    def done(self) -> None:
        """A request was answered, or has failed."""
        self._under_way -= 1
        if self._bounded and not self._left and not self._under_way:
            self._when_spent()
