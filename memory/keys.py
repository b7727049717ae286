"""Keys as they are made, kept and shown."""

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from memory.access import AccessScope
from memory.checks import check_text
from memory.errors import InvalidFieldError, SettingsError
from memory.jobs import ALL_TENANTS
from memory.limits import read_limits
from memory.messages import TENANT_OR_ALL_PATTERN

# So that a key is known for what it is where it should not be: in a log, a mail, a repository.
PREFIX = "aiml_"
RANDOM_BYTES = 32
SHAPE = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
TENANTS_MOST = 1_000
LABEL_MOST = 128
GRACE_SECONDS = 86_400
LONGEST_GRACE_SECONDS = 30 * 86_400
LONGEST_LIFE_DAYS = 100 * 366

KeyState = Literal["live", "expired", "revoked"]
TenantOrAll = Annotated[str, Meta(min_length=1, max_length=64, pattern=TENANT_OR_ALL_PATTERN)]


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make. `tenants` are those that it is for; `["*"]` is all, those to come too."""

    tenants: Annotated[list[TenantOrAll], Meta(min_length=1, max_length=TENANTS_MOST)]
    scopes: Annotated[list[AccessScope], Meta(min_length=1, max_length=3)] = msgspec.field(
        default_factory=lambda: ["read", "write"]
    )
    label: Annotated[str, Meta(max_length=LABEL_MOST, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")] = ""
    rate_limit: (
        Annotated[
            str,
            Meta(
                max_length=128,
                description="Such as 10/second; in place of the deployment's, empty for none.",
            ),
        ]
        | None
    ) = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a key is replaced: the old one serves for `grace_seconds` more.

    Without `expires_at` the new one lives as long as the old one was made to.
    """

    grace_seconds: Annotated[int, Meta(ge=0, le=LONGEST_GRACE_SECONDS)] = GRACE_SECONDS
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept. `name` stands for it in the audit log."""

    id: UUID
    name: str
    label: str
    tenants: list[str]
    scopes: list[AccessScope]
    rate_limit: str | None
    state: KeyState
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: UUID | None
    last_used_at: datetime | None


class IssuedKey(Key, frozen=True, kw_only=True):
    """A key when it is made: `key` is what is sent, and is shown this once."""

    key: str


def drawn_key() -> str:
    """A new key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def digest_of(key: str) -> bytes:
    """The SHA-256 of a key. Nothing slower is wanted: nobody guesses 256 random bits."""
    return hashlib.sha256(key.encode()).digest()


def name_of(digest: bytes) -> str:
    """What stands for a key in records, such as `key 3f9a1c2e`: it cannot be had back from it."""
    return f"key {digest.hex()[:8]}"


def state_of(expires_at: datetime | None, revoked_at: datetime | None, now: datetime) -> KeyState:
    """Whether a key opens at `now`."""
    if revoked_at is not None:
        return "revoked"
    return "expired" if expires_at is not None and expires_at <= now else "live"


def stored_tenants(tenants: Iterable[str]) -> list[str] | None:
    """The tenants of a new key as they are kept: each once, None for all."""
    each = set(tenants)
    return None if ALL_TENANTS in each else sorted(each)


def check_key(new: NewKey, now: datetime) -> None:
    """Raise `InvalidFieldError` for what the schema of `NewKey` cannot say."""
    if ALL_TENANTS in new.tenants and len(set(new.tenants)) > 1:
        raise InvalidFieldError("tenants", "are all with *, or those that are named")
    check_text("label", new.label, LABEL_MOST)
    check_expiry(new.expires_at, now)
    if new.rate_limit is not None:
        try:
            read_limits(new.rate_limit)
        except SettingsError as error:
            raise InvalidFieldError("rate_limit", str(error)) from None


def check_expiry(expires_at: datetime | None, now: datetime) -> None:
    """Raise `InvalidFieldError` unless `expires_at` is a time to come, within a century."""
    if expires_at and not now < expires_at < now + timedelta(days=LONGEST_LIFE_DAYS):
        raise InvalidFieldError("expires_at", "must be a time to come, within a century")


def successor_expiry(old: Key, rotation: Rotation, now: datetime) -> datetime | None:
    """When the key that replaces `old` ends."""
    if rotation.expires_at or old.expires_at is None:
        return rotation.expires_at
    return now + (old.expires_at - old.created_at)
