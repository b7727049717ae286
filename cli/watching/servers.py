"""What finds servers that are away, and what of them is used up."""

from collections.abc import Iterator

from cli.watching.reading import Figures
from cli.watching.words import percent, place

DISK_LOW, DISK_CRITICAL = 0.10, 0.05


def database_down(figures: Figures) -> Iterator[str]:
    """The database is away."""
    if figures.parts.database_up is False:
        yield "The database does not answer: requests get 503"


def database_unreachable(figures: Figures) -> Iterator[str]:
    """One API does not reach the database, another does."""
    for url in figures.parts.without_database:
        yield f"The API at {place(url)} does not reach the database, others do"


def redis_down(figures: Figures) -> Iterator[str]:
    """Redis is away, which is the broker where no other is set."""
    if figures.parts.redis_up is False:
        yield "Redis does not answer: nothing is embedded"


def broker_down(figures: Figures) -> Iterator[str]:
    """A broker that is not Redis is away."""
    if figures.parts.broker_up is False:
        yield "The broker does not answer: nothing is embedded"


def pool_exhausted(figures: Figures) -> Iterator[str]:
    """Requests wait for connections."""
    for url, (used, most) in figures.parts.pools.items():
        if used >= most:
            yield f"All {most:.0f} database connections of {place(url)} are in use"


def replica_stale(figures: Figures) -> Iterator[str]:
    """A read replica is of no use."""
    for replica, fresh in figures.parts.replicas.items():
        if not fresh:
            yield f"Searches do not go to read replica {replica}: the API's log says why"


def disk_low(figures: Figures) -> Iterator[str]:
    """The disk fills."""
    for folder, free in figures.parts.disks.items():
        if DISK_CRITICAL <= free < DISK_LOW:
            yield f"Only {percent(free)} of the disk of the {folder} folder is free"


def disk_critical(figures: Figures) -> Iterator[str]:
    """The disk is nearly full."""
    for folder, free in figures.parts.disks.items():
        if free < DISK_CRITICAL:
            yield f"Only {percent(free)} of the disk of the {folder} folder is free"
