"""Keys by themselves: how they are drawn, named and bounded."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.errors import InvalidFieldError
from memory.keys import (
    LONGEST_LIFE_DAYS,
    SHAPE,
    Key,
    NewKey,
    Rotation,
    check_expiry,
    check_key,
    digest_of,
    drawn_key,
    name_of,
    state_of,
    stored_tenants,
    successor_expiry,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BEFORE, LATER = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)


def key(**changes: Any) -> Key:
    """A key that was made now for an hour."""
    values: dict[str, Any] = {
        "id": uuid4(),
        "name": "key 00000000",
        "label": "",
        "tenants": ["acme"],
        "scopes": ["read"],
        "rate_limit": None,
        "state": "live",
        "created_at": NOW,
        "created_by": "test",
        "expires_at": NOW + timedelta(hours=1),
        "revoked_at": None,
        "replaced_by": None,
        "last_used_at": None,
    }
    return Key(**values | changes)


def test_no_two_keys_are_alike() -> None:
    drawn = {drawn_key() for _ in range(1000)}
    assert len(drawn) == 1000
    assert all(SHAPE.fullmatch(each) for each in drawn)
    assert len({digest_of(each) for each in drawn}) == 1000


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_key_has_a_digest_and_a_name(sent: str) -> None:
    digest = digest_of(sent)
    assert len(digest) == 32
    assert SHAPE.fullmatch(sent) is None
    name = name_of(digest)
    assert name.removeprefix("key ") == digest.hex()[:8]


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "state"),
    [
        (None, None, "live"),
        (LATER, None, "live"),
        (NOW, None, "expired"),
        (BEFORE, None, "expired"),
        (None, BEFORE, "revoked"),
        (LATER, BEFORE, "revoked"),
        (BEFORE, BEFORE, "revoked"),
    ],
)
def test_whether_a_key_opens(
    expires_at: datetime | None, revoked_at: datetime | None, state: str
) -> None:
    assert state_of(expires_at, revoked_at, NOW) == state


def test_tenants_are_kept_once_each_and_in_order() -> None:
    assert stored_tenants(["b", "a", "b"]) == ["a", "b"]
    assert stored_tenants(["*"]) is stored_tenants(["*", "*"]) is None


@pytest.mark.parametrize("expires_at", [BEFORE, NOW, NOW + timedelta(days=LONGEST_LIFE_DAYS)])
def test_a_time_that_is_none_to_end_at(expires_at: datetime) -> None:
    with pytest.raises(InvalidFieldError, match=r"^expires_at: "):
        check_expiry(expires_at, NOW)


def test_a_time_to_end_at() -> None:
    check_expiry(None, NOW)
    check_expiry(LATER, NOW)
    check_expiry(NOW + timedelta(days=LONGEST_LIFE_DAYS, seconds=-1), NOW)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("tenants", {"tenants": ["*", "acme"]}),
        ("label", {"label": "\ud800"}),
        ("rate_limit", {"rate_limit": "10"}),
        ("expires_at", {"expires_at": BEFORE}),
    ],
)
def test_what_is_wrong_is_named(field: str, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidFieldError) as raised:
        check_key(NewKey(**{"tenants": ["acme"], **given}), NOW)
    assert raised.value.field == field


def test_a_successor_lives_as_long_as_its_key_was_made_to() -> None:
    hour = timedelta(hours=1)
    later = NOW + timedelta(minutes=50)
    assert successor_expiry(key(), Rotation(), later) == later + hour
    assert successor_expiry(key(expires_at=None), Rotation(), later) is None
    chosen = Rotation(expires_at=later + 2 * hour)
    assert successor_expiry(key(), chosen, later) == chosen.expires_at
    assert successor_expiry(key(expires_at=None), chosen, later) == chosen.expires_at
