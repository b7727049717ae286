"""Dates as the data sets write them."""

from contextlib import suppress
from datetime import UTC, datetime

from bench.conversations import DatasetError

PATTERNS = (
    "%I:%M %p on %d %B, %Y",
    "%d.%m.%Y, %H:%M:%S",
    "%d.%m.%Y, %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d/%m/%Y, %H:%M:%S",
    "%d/%m/%Y, %H:%M",
    "%Y/%m/%d (%a) %H:%M",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%d %B, %Y",
)


def read_date(value: str) -> datetime:
    """The moment that `value` states, in UTC if it names no zone.

    Raises `DatasetError` with the value when it is written in no known way.
    """
    text = value.strip()
    for pattern in PATTERNS:
        with suppress(ValueError):
            return datetime.strptime(text, pattern).replace(tzinfo=UTC)
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    raise DatasetError(f"{value!r} is no date that is known here")
