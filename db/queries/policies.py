"""The retention policies of tenants."""

from typing import Any

from sqlalchemy import Row, Select, select, text

from db.tables import retention_policies
from memory.retention import RetentionPolicy

# Held by each slice of a run and by who changes the policy: a hold holds once it is answered, and
# two runs at once take turns.
LOCK_RETENTION = text("""
/* lock_retention */
select pg_advisory_xact_lock(hashtext('retention'), hashtext(:tenant_id))
""")

PUT_POLICY = text("""
/* put_policy */
insert into retention_policies (
  tenant_id, max_age_days, importance_threshold, delete_after_days, max_messages, exempt_roles,
  age_from, legal_hold)
values (:tenant_id, :max_age_days, :importance_threshold, :delete_after_days, :max_messages,
  cast(:exempt_roles as text[]), :age_from, :legal_hold)
on conflict (tenant_id) do update
  set max_age_days = excluded.max_age_days, importance_threshold = excluded.importance_threshold,
    delete_after_days = excluded.delete_after_days, max_messages = excluded.max_messages,
    exempt_roles = excluded.exempt_roles, age_from = excluded.age_from,
    legal_hold = excluded.legal_hold, updated_at = now()
""")

DELETE_POLICY = text("""
/* delete_policy */
delete from retention_policies where tenant_id = :tenant_id
""")


def policy_of(tenant_id: str) -> Select[Any]:
    """The stored policy of a tenant; without one there is no row."""
    shown = (retention_policies.c[name] for name in RetentionPolicy.__struct_fields__)
    found = select(*shown).prefix_with("/* policy_of */")
    return found.where(retention_policies.c.tenant_id == tenant_id)


def policy_from_row(row: Row[Any] | None) -> RetentionPolicy:
    """The policy in a row of `policy_of`."""
    return RetentionPolicy() if row is None else RetentionPolicy(**row._mapping)
