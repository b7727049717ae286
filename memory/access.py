"""Who calls, and what they may do."""

from typing import Literal
from uuid import UUID

import msgspec

AccessScope = Literal["read", "write", "admin"]

SCOPES: frozenset[AccessScope] = frozenset({"read", "write", "admin"})
# Who calls a service that asks for no key.
LOCAL = "local"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Someone whom the door let in. `tenants` are those of the key, None for all."""

    name: str
    """For records: `local`, or `key` and the first 8 digits of the key's SHA-256."""
    scopes: frozenset[AccessScope]
    tenants: frozenset[str] | None = None
    key_id: UUID | None = None
