"""Figures of the whole store: measured by a worker, kept in a small table, read by `/metrics`."""

from typing import Any

from sqlalchemy import Select, select, text

from db.tables import store_gauges

# Across tenants: the gauges. All but the first are counted from partial indexes, which are small
# where all is well; what there is in all is the planner's estimate, unless it has none yet. A
# message that was never tried waits since its last change: it may have been restored, or asked for
# again, long after it came.
MEASURE_STORE = text("""
/* measure_store */
with pending as (
  select count(*) as messages, min(case when embedding_attempts = 0 then updated_at
    else greatest(ingested_at, restored_at) end) as since
  from messages where embedding_status = 'pending'
), measured (name, label, value) as (
  select 'messages', '', case when reltuples < 0 then (select count(*) from messages)
    else reltuples end
  from pg_class where oid = 'messages'::regclass
  union all
  select 'pending_messages', '', messages from pending
  union all
  select 'oldest_pending_seconds', '',
    coalesce(greatest(0, extract(epoch from now() - since)), 0) from pending
  union all
  select 'failed_messages', '', count(*) from messages where embedding_status = 'failed'
  union all
  select 'archived_messages', '', count(*) from messages where archived_at is not null
  union all
  select 'active_jobs', state, count(jobs.id)
  from unnest(array['queued', 'running']) as state left join jobs using (state) group by state
), gone as (
  delete from store_gauges as known where not exists (
    select from measured where (measured.name, measured.label) = (known.name, known.label))
)
insert into store_gauges (name, label, value)
select name, label, value from measured order by name, label
on conflict (name, label) do update set value = excluded.value, measured_at = now()
returning name, label, value
""")

# So old a figure tells nothing any more.
STALE_SECONDS = 300

FRESH_GAUGES: Select[Any] = (
    select(store_gauges.c.name, store_gauges.c.label, store_gauges.c.value)
    .prefix_with("/* fresh_gauges */")
    .where(store_gauges.c.measured_at > text(f"now() - make_interval(secs => {STALE_SECONDS})"))
)
