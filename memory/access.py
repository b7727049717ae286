"""Who calls, and what they may do."""

from collections.abc import Iterable
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
    scopes: frozenset[AccessScope] = SCOPES
    tenants: frozenset[str] | None = None
    digest: bytes = b""
    """SHA-256 of the key."""
    key_id: UUID | None = None
    """Of a key that is kept in the store; those of the settings have none."""
    rate_limit: str | None = None

    def may_use(self, tenants: Iterable[str]) -> bool:
        """Whether all of `tenants` are the caller's."""
        return self.tenants is None or self.tenants.issuperset(tenants)
