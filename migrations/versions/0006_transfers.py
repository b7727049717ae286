"""Files of exports and imports on their way between the API and the workers.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
serves_from = "0005"

TRANSFERS = """
create table transfers (
  tenant_id text collate "C" not null,
  id uuid not null,
  kind text not null check (kind in ('export', 'import')),
  bytes bigint,
  created_at timestamptz not null default now(),
  finished_at timestamptz,
  primary key (tenant_id, id)
);
create index transfers_kind on transfers (tenant_id, kind);
create index transfers_age on transfers (created_at);
"""

# Parts are compressed already, and read as a whole.
TRANSFER_PARTS = """
create table transfer_parts (
  tenant_id text collate "C" not null,
  transfer_id uuid not null,
  number integer not null,
  begins bigint not null,
  content bytea not null,
  primary key (tenant_id, transfer_id, number),
  foreign key (tenant_id, transfer_id) references transfers (tenant_id, id) on delete cascade
);
alter table transfer_parts alter column content set storage external;
create unique index transfer_parts_begins on transfer_parts (tenant_id, transfer_id, begins);
"""

TENANT_IS_NAMED = """
coalesce(tenant_id = any (
  (select string_to_array(current_setting('memory.tenants', true), ','))::text[]), false)
"""

POLICIES = """
alter table {table} enable row level security;
create policy api_sees_named_tenants on {table} to memory_api using ({named});
create policy worker_sees_all on {table} to memory_worker using (true);
grant select, insert, update, delete on {table} to memory_api, memory_worker;
"""


def upgrade() -> None:
    for statement in (TRANSFERS, TRANSFER_PARTS):
        op.execute(statement)
    for table in ("transfers", "transfer_parts"):
        op.execute(POLICIES.format(table=table, named=TENANT_IS_NAMED))


def downgrade() -> None:
    op.execute("drop table transfer_parts, transfers")
