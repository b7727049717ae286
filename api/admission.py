"""How much of the process a request may take up: its size, and how many are answered at a time."""

from types import TracebackType

from litestar.types import HTTPScope

from api.door import ALWAYS_ANSWERED
from api.problems import BusyError, ProblemError

HEADERS_MAX_BYTES = 32 * 1024
# What HTTP's parser takes is one byte less; it is the protocol that refuses the rest.
URL_MAX_BYTES = 64 * 1024
# Colon, space and the end of the line.
BYTES_BESIDE = 4


def check_size(scope: HTTPScope) -> None:
    """Raise the 431 for headers that are too large to look at."""
    size = sum([len(name) + len(value) + BYTES_BESIDE for name, value in scope["headers"]])
    if size > HEADERS_MAX_BYTES:
        detail = f"The headers are larger than {HEADERS_MAX_BYTES} bytes together."
        raise ProblemError(431, "headers-too-large", detail)


class Room:
    """The places of the requests at hand; one more is told to come back."""

    def __init__(self, places: int) -> None:
        self.free = places
        self._places = places

    @property
    def taken(self) -> int:
        """How many requests are being answered, probes left out."""
        return self._places - self.free

    def place(self, path: str) -> "Place":
        """A place for a request to `path`, to be entered with `with`."""
        return Place(self, counts=path not in ALWAYS_ANSWERED)


class Place:
    """What one request holds from its first moment to its last, or until it only tells of events.

    To enter raises `BusyError` when there is no room.
    """

    def __init__(self, room: Room, *, counts: bool) -> None:
        self._room = room
        self._counts = counts
        self._held = False

    def __enter__(self) -> "Place":
        if self._counts:
            if self._room.free <= 0:
                raise BusyError
            self._room.free -= 1
            self._held = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Make room for another."""
        if self._held:
            self._held = False
            self._room.free += 1
