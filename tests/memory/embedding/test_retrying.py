from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from memory.embedding.retrying import retry_after


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("0", 0.0), ("soon", None), ("", None), ("-1", None)]
)
def test_a_number_of_seconds(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}) == seconds


def test_a_date() -> None:
    then = datetime.now(UTC) + timedelta(seconds=30)
    assert retry_after({"retry-after": format_datetime(then)}) == pytest.approx(30, abs=2)
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_no_header() -> None:
    assert retry_after({}) is None
