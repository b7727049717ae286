"""The settings of tenants, and what a change of them sets off."""

from typing import Any

from sqlalchemy import Row, select, text

from db.tables import tenant_settings
from memory.tenants import TenantSettings

# Another process may write the terms of the old language for as long as it remembers it, and a
# request takes to be stored.
REINDEX_AFTER_SECONDS = 45

PUT_SETTINGS = text("""
/* put_settings */
insert into tenant_settings (
  tenant_id, language, w_relevance, w_importance, w_recency, half_life_days,
  importance_w_role, importance_w_content, importance_w_recency, importance_w_use,
  importance_half_life_days)
values (:tenant_id, :language, :w_relevance, :w_importance, :w_recency, :half_life_days,
  :importance_w_role, :importance_w_content, :importance_w_recency, :importance_w_use,
  :importance_half_life_days)
on conflict (tenant_id) do update
  set language = excluded.language, w_relevance = excluded.w_relevance,
    w_importance = excluded.w_importance, w_recency = excluded.w_recency,
    half_life_days = excluded.half_life_days,
    importance_w_role = excluded.importance_w_role,
    importance_w_content = excluded.importance_w_content,
    importance_w_recency = excluded.importance_w_recency,
    importance_w_use = excluded.importance_w_use,
    importance_half_life_days = excluded.importance_half_life_days, updated_at = now()
""")

DELETE_SETTINGS = text("""
/* delete_settings */
delete from tenant_settings where tenant_id = :tenant_id
""")

# A change while an earlier one is at work begins it anew.
REINDEX_TENANT = text("""
/* reindex_tenant */
insert into term_reindexing (tenant_id, not_before)
values (:tenant_id, now() + make_interval(secs => :after))
on conflict (tenant_id) do update
  set finished_to = default, not_before = excluded.not_before
""")


def settings_of(tenant_ids: list[str]) -> Any:
    """The stored settings of `tenant_ids`; a tenant without any has no row."""
    shown = (tenant_settings.c[name] for name in TenantSettings.__struct_fields__)
    found = select(tenant_settings.c.tenant_id, *shown).prefix_with("/* settings_of */")
    return found.where(tenant_settings.c.tenant_id.in_(tenant_ids))


def settings_from_row(row: Row[Any]) -> TenantSettings:
    """The settings in a row of `settings_of`."""
    values = dict(row._mapping)
    values.pop("tenant_id")
    return TenantSettings(**values)
