"""Limits as they are written."""

import contextlib
from typing import Any

import limits as library
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.errors import SettingsError
from memory.limits import Hit, Limit, Standing, merged, read_limits

SPACES = st.sampled_from(["", " ", "  "])
UNITS = ["second", "minute", "hour", "day", "month", "year"]


@st.composite
def written_limits(draw: Any) -> str:
    """One limit, as anybody may write it."""
    unit = draw(st.sampled_from(UNITS)) + draw(st.sampled_from(["", "s"]))
    count = draw(st.none() | st.integers(1, 10))
    parts = [
        str(draw(st.integers(1, 10**9))),
        draw(st.sampled_from(["/", "per", "PER"])),
        "" if count is None else str(count),
        draw(st.sampled_from([unit, unit.upper(), unit.title()])),
    ]
    return draw(SPACES) + "".join(part + draw(SPACES) for part in parts)


@given(st.lists(written_limits(), min_size=1, max_size=4), st.data())
def test_they_are_read_as_the_library_reads_them(written: list[str], data: Any) -> None:
    text = written[0]
    for each in written[1:]:
        text += data.draw(st.sampled_from(",;|")) + each
    read = [(limit.amount, limit.seconds) for limit in read_limits(text)]
    assert read == [(item.amount, item.get_expiry()) for item in library.parse_many(text)]


@given(st.text("0123456789/,;| perscondminutehayPS\u017f\n:-.", max_size=20))
def test_what_the_library_does_not_read_is_refused(text: str) -> None:
    with contextlib.suppress(SettingsError):
        read = read_limits(text)
        items = library.parse_many(text) if text.strip() else []
        assert [(item.amount, item.get_expiry()) for item in items] == [each[:2] for each in read]
        assert all(limit.amount > 0 and limit.seconds > 0 for limit in read)


def test_a_limit_says_how_it_was_written() -> None:
    assert read_limits(" 5 per 10 seconds ;100/hour") == (
        Limit(5, 10, "5 per 10 seconds"),
        Limit(100, 3600, "100/hour"),
    )
    assert read_limits("20/5 minutes") == (Limit(20, 300, "20/5 minutes"),)


@pytest.mark.parametrize("empty", ["", "  "])
def test_nothing_is_no_limit(empty: str) -> None:
    assert read_limits(empty) == ()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("0/minute", "between 1 and 10"),
        ("10000000000001/day", "between 1 and 10"),
        ("5/0 minutes", "between a second and ten years"),
        ("5 per 11 years", "between a second and ten years"),
        ("5/minute,", "such as 200/minute"),
        ("5/minute 6/hour", "such as 200/minute"),
        ("-5/minute", "such as 200/minute"),
        ("5.5/minute", "such as 200/minute"),
        ("5/fortnight", "such as 200/minute"),
        ("5/minutess", "such as 200/minute"),
        ("\u0665/minute", "such as 200/minute"),
        ("many", "such as 200/minute"),
        ("9" * 5000 + "/minute", "such as 200/minute"),
    ],
)
def test_a_wrong_limit_is_told_with_its_source(wrong: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as raised:
        read_limits(wrong, "MEMORY_TENANT_RATE_LIMIT")
    assert str(raised.value).startswith(f"MEMORY_TENANT_RATE_LIMIT={wrong!r}: ")


def test_the_longest_and_largest_limit_is_read() -> None:
    assert read_limits("1000000000000/10 years")[0][:2] == (10**12, 10 * 360 * 86_400)


def test_what_counts_together_is_one_hit() -> None:
    first, second = read_limits("5/minute, 5 per 60 seconds")
    other = Limit(6, 60, "6/minute")
    hits = [Hit("a:1", first, 2), Hit("a:2", first), Hit("a:1", second, 3), Hit("a:1", other)]
    assert merged(hits) == [Hit("a:1", first, 5), Hit("a:2", first), Hit("a:1", other)]


def test_a_standing_tells_of_its_limit() -> None:
    hit = Hit("tenant:acme:c", Limit(4, 60, "4/minute"))
    assert hit.kind == "tenant"
    standing = Standing(hit, 1, 30.0, None)
    assert (standing.limit, standing.share, standing.never) == (4, 0.25, False)
    assert Standing(hit, 1, 30.0, float("inf")).never
    assert not Standing(hit, 1, 30.0, 12.0).never
