"""Files that a tenant leaves or comes with, in the database: the API and workers share no disk.

A transfer is one such file, in parts of whole lines. A tenant has one that comes in, and two that
go out: the one that is being written, and the last one before, which somebody may be reading. So
what they take up is bounded.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, func, select, text

from db.transfer_tables import transfers

# Parts go with it.
DELETE_TRANSFERS = text("""
/* delete_transfers */
delete from transfers where tenant_id = :tenant_id and kind = :kind
""")

DELETE_ALL_BUT_LAST = text("""
/* delete_all_but_last */
delete from transfers
where tenant_id = :tenant_id and kind = :kind and id is distinct from (
  select last.id from transfers as last
  where last.tenant_id = :tenant_id and last.kind = :kind and last.finished_at is not null
  order by last.finished_at desc limit 1)
""")

INSERT_TRANSFER = text("""
/* insert_transfer */
insert into transfers (tenant_id, id, kind) values (:tenant_id, :id, :kind)
""")

# Nothing where the transfer is gone. To write one again is to write it as it was.
INSERT_PART = text("""
/* insert_part */
insert into transfer_parts (tenant_id, transfer_id, number, begins, content)
select transfers.tenant_id, transfers.id, :number, :begins, :content
from transfers where transfers.tenant_id = :tenant_id and transfers.id = :id
  and transfers.finished_at is null
for key share
returning number
""")

FINISH_TRANSFER = text("""
/* finish_transfer */
update transfers set finished_at = now(), bytes = :bytes
where tenant_id = :tenant_id and id = :id and finished_at is null
returning id
""")

# The part in which the byte `place` of the file lies.
PART_AT = text("""
/* part_at */
select number, begins, content from transfer_parts
where tenant_id = :tenant_id and transfer_id = :id and begins <= :place
order by begins desc limit 1
""")

PART = text("""
/* part */
select content from transfer_parts
where tenant_id = :tenant_id and transfer_id = :id and number = :number
""")

# Across tenants: the purge. An upload that was never finished goes sooner.
PURGE_TRANSFERS = text("""
/* purge_transfers */
delete from transfers where (tenant_id, id) in (
  select tenant_id, id from transfers
  where created_at < now() - make_interval(hours => :hours)
    or kind = 'import' and finished_at is null
      and created_at < now() - make_interval(hours => :unfinished_hours)
  limit :most for update skip locked)
""")


def begin_transfer(connection: Connection, tenant_id: str, transfer_id: UUID, kind: str) -> None:
    """Make a transfer in the place of the tenant's earlier ones of that kind.

    Of exports the last one that is whole stays.
    """
    named = {"tenant_id": tenant_id, "kind": kind}
    connection.execute(DELETE_ALL_BUT_LAST if kind == "export" else DELETE_TRANSFERS, named)
    connection.execute(INSERT_TRANSFER, {**named, "id": transfer_id})


def finished_export(tenant_id: str, hours: int) -> Select[Any]:
    """The file of a tenant's last export that is whole, if it is not too old."""
    shown = (transfers.c.id, transfers.c.bytes, transfers.c.finished_at)
    return (
        select(*shown)
        .prefix_with("/* finished_export */")
        .where(
            transfers.c.tenant_id == tenant_id,
            transfers.c.kind == "export",
            transfers.c.finished_at.is_not(None),
            transfers.c.created_at > func.now() - timedelta(hours=hours),
        )
        .order_by(transfers.c.finished_at.desc())
        .limit(1)
    )
