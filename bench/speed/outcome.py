"""What a measurement found, beside its floor, in each of its rounds."""

import statistics
from collections.abc import Sequence

import msgspec


class Outcome(msgspec.Struct, frozen=True):
    """The figures of one id, one a round; without any, it was not measured, and `said` is why.

    `said` is what the table tells beside the figures, in few words. `per` marks a floor that is of
    another kind than the value, and so no part of a ratio.
    """

    id: str
    unit: str
    values: Sequence[float] = ()
    floors: Sequence[float] = ()
    said: str = ""

    @property
    def value(self) -> float | None:
        """The median of the rounds."""
        return statistics.median(self.values) if self.values else None

    @property
    def floor(self) -> float | None:
        """The median of the floor's rounds."""
        return statistics.median(self.floors) if self.floors else None

    @property
    def ratio(self) -> float | None:
        """The value as a share of its floor: 0.5 is half of it, be it a rate or a time."""
        if self.value is None or not self.floor:
            return None
        return self.value / self.floor
