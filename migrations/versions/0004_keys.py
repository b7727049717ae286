"""Keys that are made, handed out and revoked while the service runs.

Revision ID: 0004
Revises: 0003
"""

import importlib

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
serves_from = "0004"

# Of a key there is its SHA-256 alone. `tenants` is null for all of them. Rows stay when their keys
# have ended, so that the audit log's names can be resolved, and so that a store which had keys
# once is never taken for one that wants none.
API_KEYS = """
create table api_keys (
  id uuid primary key,
  digest bytea not null unique check (length(digest) = 32),
  label text not null,
  tenants text[] collate "C" check (cardinality(tenants) > 0),
  scopes text[] not null
    check (cardinality(scopes) > 0 and scopes <@ array['read', 'write', 'admin']),
  rate_limit text,
  created_at timestamptz not null default now(),
  created_by text not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  replaced_by uuid references api_keys (id),
  last_used_at timestamptz
)
"""

# Whoever asks knows the key's digest, and learns of no other key.
API_KEY = """
create function api_key(wanted bytea) returns table (
  id uuid, tenants text[], scopes text[], rate_limit text, expires_at timestamptz,
  revoked_at timestamptz
)
  language sql stable security definer set search_path = public, pg_temp
  begin atomic
    select id, tenants, scopes, rate_limit, expires_at, revoked_at
    from api_keys where digest = wanted;
  end
"""

ANY_API_KEY = """
create function any_api_key() returns boolean
  language sql stable security definer set search_path = public, pg_temp
  return exists (select from api_keys)
"""

# As in 0001, now that some callers are bound to tenants: for a transaction that is an operator's.
TENANT_OF_MESSAGE = """
create or replace function tenant_of_message(message uuid) returns text
  language sql stable security definer set search_path = public, pg_temp
  return (select tenant_id from messages
    where id = message and coalesce(current_setting('memory.operator', true) = 'yes', false)
    limit 1)
"""

POLICY = """
alter table api_keys enable row level security;
create policy operators_see_all on api_keys to memory_api
  using (coalesce((select current_setting('memory.operator', true)) = 'yes', false));
grant select, insert, update on api_keys to memory_api;
"""

FUNCTIONS = {"api_key": "bytea", "any_api_key": ""}


def upgrade() -> None:
    for statement in (API_KEYS, API_KEY, ANY_API_KEY, TENANT_OF_MESSAGE, POLICY):
        op.execute(statement)
    for name, arguments in FUNCTIONS.items():
        op.execute(f"revoke all on function {name} ({arguments}) from public")
        op.execute(f"grant execute on function {name} ({arguments}) to memory_api")


def downgrade() -> None:
    for name, arguments in FUNCTIONS.items():
        op.execute(f"drop function {name} ({arguments})")
    op.execute("drop table api_keys")
    before = importlib.import_module("migrations.versions.0001_messages")
    op.execute(before.TENANT_OF_MESSAGE.replace("create function", "create or replace function"))
