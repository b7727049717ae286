"""The audit log as operators read it."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done. `tenant_id` is null where it was done to all tenants."""

    id: UUID
    tenant_id: str | None
    at: datetime
    actor: str
    action: str
    result: str
    request_id: str | None
    details: dict[str, Any]
