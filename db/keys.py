"""Making, replacing and revoking keys, for operators at whichever door, with their records."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from db.queries.audit import INSERT_RECORD, record_parameters
from db.queries.keys import (
    INSERT_KEY,
    LOCK_KEY,
    REPLACE_KEY,
    REVOKE_KEY,
    key_from_row,
    keys_by_id,
)
from memory.errors import KeyNotFoundError, StateConflictError
from memory.jobs import ALL_TENANTS
from memory.keys import (
    IssuedKey,
    Key,
    NewKey,
    Rotation,
    digest_of,
    drawn_key,
    stored_tenants,
    successor_expiry,
)


class By(NamedTuple):
    """Who does something to a key, and with which request, for the record of it."""

    actor: str
    request_id: str | None = None


def create_key(connection: Connection, new: NewKey, by: By) -> IssuedKey:
    """A new key, in the transaction of `connection`. What is sent is in the answer alone."""
    issued = _insert(connection, new, by)
    _record(connection, by, "create_key", issued)
    return issued


def rotate_key(connection: Connection, key_id: UUID, rotation: Rotation, by: By) -> IssuedKey:
    """A new key in place of an old one, which ends when its time of grace is over.

    Raises `KeyNotFoundError`, and `StateConflictError` for a key that has ended or was replaced.
    """
    old = _locked(connection, key_id)
    if old.state != "live" or old.replaced_by:
        reason = f"is {old.state}" if old.state != "live" else f"was replaced by {old.replaced_by}"
        raise StateConflictError(f"The key {reason}: there is nothing to rotate.")
    new = NewKey(
        tenants=old.tenants,
        scopes=old.scopes,
        label=old.label,
        rate_limit=old.rate_limit,
        expires_at=successor_expiry(old, rotation, datetime.now(UTC)),
    )
    issued = _insert(connection, new, by)
    named = {"id": old.id, "replaced_by": issued.id, "grace_seconds": rotation.grace_seconds}
    connection.execute(REPLACE_KEY, named)
    _record(connection, by, "rotate_key", issued, replaces=old.name)
    return issued


def revoke_key(connection: Connection, key_id: UUID, by: By) -> Key:
    """The key, which opens no more. Raises `KeyNotFoundError`."""
    _locked(connection, key_id)
    revoked = connection.scalar(REVOKE_KEY, {"id": key_id}) is not None
    key = _key(connection, key_id)
    if revoked:
        _record(connection, by, "revoke_key", key)
    return key


def _insert(connection: Connection, new: NewKey, by: By) -> IssuedKey:
    drawn = drawn_key()
    key_id = uuid7()
    values = {
        "id": key_id,
        "digest": digest_of(drawn),
        "label": new.label,
        "tenants": stored_tenants(new.tenants),
        "scopes": sorted(set(new.scopes)),
        "rate_limit": new.rate_limit,
        "created_by": by.actor,
        "expires_at": new.expires_at,
    }
    connection.execute(INSERT_KEY, values)
    key = _key(connection, key_id)
    return IssuedKey(**msgspec.structs.asdict(key), key=drawn)


def _locked(connection: Connection, key_id: UUID) -> Key:
    if connection.scalar(LOCK_KEY, {"id": key_id}) is None:
        raise KeyNotFoundError
    return _key(connection, key_id)


def _key(connection: Connection, key_id: UUID) -> Key:
    return key_from_row(connection.execute(keys_by_id([key_id])).one(), datetime.now(UTC))


def _record(connection: Connection, by: By, action: str, key: Key, **more: str) -> None:
    shown = {"key_id": str(key.id), "key": key.name, "label": key.label}
    granted = {"tenants": key.tenants, "scopes": key.scopes, "expires_at": key.expires_at}
    details = {**shown, **granted, **more}
    done = record_parameters(ALL_TENANTS, by.actor, action, details, request_id=by.request_id)
    connection.execute(INSERT_RECORD, done)
