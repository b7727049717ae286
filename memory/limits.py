"""What a limit is, how one is written, and what those are told who meet it."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from memory.errors import SettingsError

SEPARATORS = re.compile(r"[,;|]")
LIMIT = re.compile(
    r"\s*(?P<amount>\d{1,15})\s*(?:/|per)\s*(?P<count>\d{1,15})?\s*(?P<unit>[a-z]+?)s?\s*",
    re.IGNORECASE | re.ASCII,
)
SECONDS = {
    "second": 1,
    "minute": 60,
    "hour": 3_600,
    "day": 86_400,
    "month": 30 * 86_400,
    "year": 360 * 86_400,
}
# Digits beyond these would be lost in the arithmetic of Redis, whose numbers are doubles.
MOST = 10**12
LONGEST_SECONDS = 10 * SECONDS["year"]


class Limit(NamedTuple):
    """At most `amount` in any `seconds`; `text` is how it was written."""

    amount: int
    seconds: int
    text: str


class Hit(NamedTuple):
    """What counts against one limit of `key`; a cost of 0 only looks whether it is used up.

    The key begins with the kind of the limit, such as `tenant:acme`.
    """

    key: str
    limit: Limit
    cost: int = 1

    @property
    def kind(self) -> str:
        """What the limit is of."""
        return self.key.partition(":")[0]

    @property
    def window(self) -> str:
        """What the hits that count together have in common."""
        return f"{self.limit.amount}/{self.limit.seconds}:{self.key}"


class Standing(NamedTuple):
    """How it stands with the limit that is nearest its end, or that refuses longest.

    `reset_seconds` is when all of it can be used again. `retry_after` is None for what is
    admitted, and infinite for what costs more than the limit ever allows.
    """

    hit: Hit
    remaining: int
    reset_seconds: float
    retry_after: float | None

    @property
    def limit(self) -> int:
        """How much the limit allows."""
        return self.hit.limit.amount

    @property
    def share(self) -> float:
        """How much of the limit is left, from 0 to 1."""
        return self.remaining / self.limit

    @property
    def never(self) -> bool:
        """Whether what was asked costs more than the limit ever allows."""
        return self.retry_after == math.inf


def read_limits(text: str, source: str = "limit") -> tuple[Limit, ...]:
    """The limits in `text`, such as `5 per 10 seconds; 100/hour`; none when it is empty.

    They are written as the library `limits` reads them. Raises `SettingsError`, naming `source`.
    """
    if not text.strip():
        return ()
    try:
        return tuple(_read(each) for each in SEPARATORS.split(text))
    except ValueError as error:
        raise SettingsError(f"{source}={text!r}: {error}") from None


def merged(hits: Sequence[Hit]) -> list[Hit]:
    """`hits` with those that count together as one, in the order in which they first come."""
    found: dict[str, Hit] = {}
    for hit in hits:
        known = found.get(hit.window)
        found[hit.window] = known._replace(cost=known.cost + hit.cost) if known else hit
    return list(found.values())


def _read(text: str) -> Limit:
    found = LIMIT.fullmatch(text)
    unit = SECONDS.get(found["unit"].lower()) if found else None
    if found is None or unit is None:
        raise ValueError("expected limits such as 200/minute or 5 per 10 seconds; 100/hour")
    amount, seconds = int(found["amount"]), int(found["count"] or 1) * unit
    if not 1 <= amount <= MOST:
        raise ValueError("the amount of a limit must lie between 1 and 10**12; empty is no limit")
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise ValueError("the time of a limit must lie between a second and ten years")
    return Limit(amount, seconds, text.strip())
