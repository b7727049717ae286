"""Making, replacing and revoking keys, for operators at whichever door, with their records."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from db.queries.audit import INSERT_RECORD
from db.queries.keys import (
    INSERT_KEY,
    LOCK_KEY,
    REPLACE_KEY,
    REVOKE_KEY,
    key_from_row,
    keys_by_id,
)
from memory.errors import KeyNotFoundError, StateConflictError
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


def create_key(
    connection: Connection, new: NewKey, created_by: str, record: dict[str, Any]
) -> IssuedKey:
    """A new key, in the transaction of `connection`. What is sent is in the answer alone."""
    issued = _insert(connection, new, created_by)
    _write(connection, record, issued)
    return issued


def rotate_key(
    connection: Connection,
    key_id: UUID,
    rotation: Rotation,
    created_by: str,
    record: dict[str, Any],
) -> IssuedKey:
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
    issued = _insert(connection, new, created_by)
    named = {"id": old.id, "replaced_by": issued.id, "grace_seconds": rotation.grace_seconds}
    connection.execute(REPLACE_KEY, named)
    _write(connection, record, issued, replaces=old.name)
    return issued


def revoke_key(connection: Connection, key_id: UUID, record: dict[str, Any]) -> Key:
    """The key, which opens no more. Raises `KeyNotFoundError`."""
    _locked(connection, key_id)
    revoked = connection.scalar(REVOKE_KEY, {"id": key_id}) is not None
    key = _key(connection, key_id)
    if revoked:
        _write(connection, record, key)
    return key


def _insert(connection: Connection, new: NewKey, created_by: str) -> IssuedKey:
    drawn = drawn_key()
    key_id = uuid7()
    values = {
        "id": key_id,
        "digest": digest_of(drawn),
        "label": new.label,
        "tenants": stored_tenants(new.tenants),
        "scopes": sorted(set(new.scopes)),
        "rate_limit": new.rate_limit,
        "created_by": created_by,
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


def _write(connection: Connection, record: dict[str, Any], key: Key, **more: str) -> None:
    shown = {"key_id": str(key.id), "key": key.name, "label": key.label}
    granted = {"tenants": key.tenants, "scopes": key.scopes, "expires_at": key.expires_at}
    details = msgspec.json.encode({**shown, **granted, **more}).decode()
    connection.execute(INSERT_RECORD, {**record, "details": details})
