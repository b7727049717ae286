"""Figures of the whole store: measured by a worker, kept in a small table, read by `/metrics`."""

from typing import Any, get_args

from sqlalchemy import Select, select, text

from db.tables import store_gauges
from memory.jobs import JobKind

# Across tenants: the gauges. Messages are counted from partial indexes, which are small where all
# is well; how many there are in all is what the planner takes for it, from the pages that there are
# now, unless it knows nothing yet. Tenants are counted by stepping from each to the next in the
# index; how important messages are is told from a sample, of some pages of the table. `last` is the
# last job of each kind that came to an end: of those for all tenants, of which a dry run is none.
# Where backups are to be made, and none ever was, the store is as old as its last one.
MEASURE_STORE = text("""
/* measure_store */
with recursive tenants as (
  (select tenant_id from messages order by tenant_id limit 1)
  union all
  select (select tenant_id from messages where tenant_id > tenants.tenant_id
    order by tenant_id limit 1)
  from tenants where tenant_id is not null
), counted as (
  select case when relpages = 0 or reltuples < 0 then (select count(*) from messages)
    else reltuples / relpages * pg_relation_size(oid) / current_setting('block_size')::int end
    as messages
  from pg_class where oid = 'messages'::regclass
), sampled as (
  select importance_score from messages tablesample system ((
    select least(100, 100.0 * :sample / greatest(1, messages)) from counted))
), ended as (
  select kind, state, finished_at from jobs
  where tenant_id = '*' and state in ('completed', 'failed') and finished_at is not null
    and coalesce((arguments ->> 'dry_run')::boolean, false) = false
), last as (
  select distinct on (kind) kind, state from ended order by kind, finished_at desc
), backed_up as (
  select result from jobs where tenant_id = '*' and kind = 'backup' and state = 'completed'
  order by finished_at desc limit 1
), pending as (
  select count(*) as messages, min(pending_since) as since from messages
  where embedding_status = 'pending'
), measured (name, label, value) as (
  select 'messages', '', messages::float8 from counted
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
  union all
  select 'job_failed', kind, coalesce((last.state = 'failed')::int, 0)
  from unnest(cast(:kinds as text[])) as kind left join last using (kind)
  union all
  select 'job_completed_timestamp_seconds', kind, extract(epoch from max(finished_at))
  from ended where state = 'completed' and kind = any(cast(:kinds as text[])) group by kind
  union all
  select 'backup_' || figure, '', value from (values
    ('timestamp_seconds', extract(epoch from coalesce(
      (select (result ->> 'taken_at')::timestamptz from backed_up),
      (select min(created_at) from embedding_models where :backups)))),
    ('bytes', (select (result ->> 'bytes')::numeric from backed_up)),
    ('duration_seconds', (select (result ->> 'seconds')::numeric from backed_up))
  ) as backup (figure, value) where value is not null
  union all
  select 'tenants', '', count(tenant_id) from tenants
  union all
  (select 'tenant_messages', tenant_id, messages from term_statistics
    where :by_tenant order by messages desc limit 20)
  union all
  select 'bytes', '', pg_database_size(current_database())
  union all
  select 'importance_bucket', edge, coalesce(max(counted.messages)
    * avg((importance_score <= cast(edge as float8))::int), 0)
  from unnest(cast(:edges as text[])) as edge cross join counted left join sampled on true
  group by edge
  union all
  select 'measured_timestamp_seconds', '', extract(epoch from now())
), gone as (
  delete from store_gauges as known where not exists (
    select from measured where (measured.name, measured.label) = (known.name, known.label))
)
insert into store_gauges (name, label, value)
select name, label, value from measured order by name, label
on conflict (name, label) do update set value = excluded.value, measured_at = now()
returning name, label, value
""")

# A sample of so many is 1% off at the most, nineteen times of twenty.
SAMPLED_MESSAGES = 10_000
IMPORTANCE_EDGES = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0", "+Inf")

# So old a figure tells nothing any more.
STALE_SECONDS = 300

FRESH_GAUGES: Select[Any] = (
    select(store_gauges.c.name, store_gauges.c.label, store_gauges.c.value)
    .prefix_with("/* fresh_gauges */")
    .where(store_gauges.c.measured_at > text(f"now() - make_interval(secs => {STALE_SECONDS})"))
)


def measure_parameters(by_tenant: bool, backups: bool = False) -> dict[str, Any]:
    """The parameters of `MEASURE_STORE`; with `by_tenant`, the largest tenants are named.

    `backups` says whether the schedule makes them.
    """
    return {
        "sample": SAMPLED_MESSAGES,
        "kinds": list(get_args(JobKind)),
        "edges": list(IMPORTANCE_EDGES),
        "by_tenant": by_tenant,
        "backups": backups,
    }
