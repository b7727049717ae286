"""The audit log: who did what, to whom, when and with what result. Rows are only ever added."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row, Select, select, text
from uuid_utils.compat import uuid7

from db.tables import audit_log
from memory.audit import Record
from memory.jobs import ALL_TENANTS

INSERT_RECORD = text("""
/* insert_record */
insert into audit_log (tenant_id, id, actor, action, result, request_id, details)
values (:tenant_id, :id, :actor, :action, :result, :request_id, cast(:details as jsonb))
on conflict (tenant_id, id) do nothing
""")


def record_parameters(
    tenant_id: str,
    actor: str,
    action: str,
    details: dict[str, Any],
    *,
    result: str = "done",
    request_id: str | None = None,
    record_id: UUID | None = None,
) -> dict[str, Any]:
    """The parameters of `INSERT_RECORD`, `details` hold no message's content.

    Without `record_id` it has a new id; with one it is written once, however often it is sent.
    """
    return {
        "tenant_id": tenant_id,
        "id": record_id or uuid7(),
        "actor": actor,
        "action": action,
        "result": result,
        "request_id": request_id,
        "details": msgspec.json.encode(details).decode(),
    }


def records_page(
    tenants: Sequence[str] | None, action: str | None, before: UUID | None, most: int
) -> Select[Any]:
    """At most `most` records, the newest first, older than `before`; None filters nothing."""
    shown = (audit_log.c[name] for name in Record.__struct_fields__)
    page = select(*shown).prefix_with("/* records_page */")
    if tenants is not None:
        page = page.where(audit_log.c.tenant_id.in_(tenants))
    if action is not None:
        page = page.where(audit_log.c.action == action)
    if before is not None:
        page = page.where(audit_log.c.id < before)
    return page.order_by(audit_log.c.id.desc()).limit(most)


def record_from_row(row: Row[Any]) -> Record:
    """The record of a row of `records_page`."""
    values = dict(row._mapping)
    tenant_id = values.pop("tenant_id")
    return Record(**values, tenant_id=None if tenant_id == ALL_TENANTS else tenant_id)
