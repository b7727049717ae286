"""Figures as people read them; `-` is for what is not known."""

UNKNOWN = "-"
# A figure of a unit stands until it reaches the next: seconds in each, and its name.
LONGER = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"), (0.001, "ms"))
LARGER = ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB"), (1, "B"))


def amount(count: float | None) -> str:
    """A whole number."""
    return UNKNOWN if count is None else f"{count:,.0f}"


def rate(per_second: float | None) -> str:
    """So many a second."""
    if per_second is None:
        return UNKNOWN
    return f"{per_second:,.0f}/s" if per_second >= 100 else f"{figure(per_second)}/s"


def percent(share: float | None) -> str:
    """A share, from 0 to 1."""
    if share is None:
        return UNKNOWN
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def duration(seconds: float | None) -> str:
    """A time, in the largest unit that fits."""
    return _in_units(seconds, LONGER)


def size(count: float | None) -> str:
    """A number of bytes."""
    return _in_units(count, LARGER)


def place(url: str) -> str:
    """Where a process is, without what all pages have in common."""
    return url.partition("://")[2].removesuffix("/metrics")


def figure(value: float) -> str:
    """Two or three figures of a number: 0, 0.05, 1.3, 130."""
    if value >= 10 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _in_units(value: float | None, units: tuple[tuple[float, str], ...]) -> str:
    if value is None:
        return UNKNOWN
    # The last unit is for all that is smaller, too.
    worth, name = next((unit for unit in units if value >= unit[0]), units[-1])
    return f"{figure(value / worth)} {name}"
