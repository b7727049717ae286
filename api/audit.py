"""`GET /v1/admin/audit`: what was done, and by whom."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, get
from litestar.params import QueryParameter

from api.entry import ADMIN, asked_tenants
from api.runtime import NamedRuntime
from db.queries.audit import record_from_row, records_page
from db.sessions import visible_transaction
from memory.audit import Record
from memory.messages import TENANT_PATTERN

ACTION_PATTERN = r"^[a-z_]+$(?!\n)"


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Records, the newest first. `next` asks for those before them, null at the end."""

    items: list[Record]
    next: UUID | None


@get("/v1/admin/audit", tags=["admin"], opt=ADMIN)
async def list_audit(
    request: Request[Any, Any, Any],
    runtime: NamedRuntime,
    tenant_id: Annotated[
        str | None, QueryParameter(min_length=1, max_length=64, pattern=TENANT_PATTERN)
    ] = None,
    action: Annotated[
        str | None, QueryParameter(min_length=1, max_length=64, pattern=ACTION_PATTERN)
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
    before: Annotated[UUID | None, QueryParameter()] = None,
) -> AuditPage:
    """What was done to a tenant, or to all, the newest first."""
    tenants = await asked_tenants(request, runtime, tenant_id)
    async with visible_transaction(runtime.engine) as connection:
        rows = (await connection.execute(records_page(tenants, action, before, limit + 1))).all()
    items = [record_from_row(row) for row in rows[:limit]]
    return AuditPage(items=items, next=items[-1].id if len(rows) > limit else None)
