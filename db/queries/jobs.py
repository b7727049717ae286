"""Long work as rows: whose turn it is, how far it is, and how it ended.

A runner takes a job for a time, its lease, and renews it with each slice, in the transaction of
the slice: a slice and the note of it are there together or not at all. Whoever finds that a job is
no longer theirs rolls their slice back. What ends without a word is free again when its lease
runs out.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select, text

from db.tables import jobs
from memory.jobs import ALL_TENANTS, Job, JobKind, JobState

# Of active jobs with one `unique_key` there is one; a second is not made.
INSERT_JOB = text("""
/* insert_job */
insert into jobs (tenant_id, id, kind, arguments, total, started_by, unique_key)
values (:tenant_id, :id, :kind, cast(:arguments as jsonb), :total, :started_by, :unique_key)
on conflict (tenant_id, unique_key)
  where state in ('queued', 'running') and unique_key is not null do nothing
returning id
""")

ACTIVE_WITH_KEY = text("""
/* active_with_key */
select id from jobs where tenant_id = :tenant_id and unique_key = :unique_key
  and state in ('queued', 'running')
""")

TAKE_JOB = text("""
/* take_job */
update jobs
set state = 'running', runner = :runner, lease_until = now() + make_interval(secs => :lease),
  attempts = attempts + 1, started_at = coalesce(started_at, now()), updated_at = now()
where tenant_id = :tenant_id and id = :id and state in ('queued', 'running')
  and (lease_until is null or lease_until < now()) and attempts < :max_attempts
returning kind, arguments, position, done, total, started_by, started_at
""")

# What goes forward has its attempts back. The lease counts from here, not from the slice's begin.
ADVANCE_JOB = text("""
/* advance_job */
update jobs
set position = cast(:position as jsonb), done = :done, total = coalesce(:total, total),
  lease_until = clock_timestamp() + make_interval(secs => :lease), attempts = 1, error = null,
  updated_at = clock_timestamp()
where tenant_id = :tenant_id and id = :id and runner = :runner and state = 'running'
returning id
""")

# As long as one thing goes on that is no slice: another try has to begin it anew, and counts.
RENEW_JOB = text("""
/* renew_job */
update jobs
set position = cast(:position as jsonb), done = :done, total = :total, updated_at = now(),
  lease_until = now() + make_interval(secs => :lease)
where tenant_id = :tenant_id and id = :id and runner = :runner and state = 'running'
returning id
""")

FINISH_JOB = text("""
/* finish_job */
update jobs
set state = 'completed', result = cast(:result as jsonb), error = null, runner = null,
  lease_until = null, updated_at = now(), finished_at = now()
where tenant_id = :tenant_id and id = :id and runner = :runner and state = 'running'
returning id
""")

# For the next task, which may be another process's.
RELEASE_JOB = text("""
/* release_job */
update jobs set runner = null, lease_until = null, attempts = 0, updated_at = now()
where tenant_id = :tenant_id and id = :id and runner = :runner and state = 'running'
""")

PUT_OFF_JOB = text("""
/* put_off_job */
update jobs
set state = case when :hopeless or attempts >= :max_attempts then 'failed' else state end,
  finished_at = case when :hopeless or attempts >= :max_attempts then now() end,
  lease_until = now() + make_interval(secs => :delay * power(2, attempts - 1)),
  error = :error, runner = null, updated_at = now()
where tenant_id = :tenant_id and id = :id and runner = :runner and state = 'running'
returning state
""")

# Across tenants: the restart of stalled jobs.
FAIL_EXHAUSTED_JOBS = text("""
/* fail_exhausted_jobs */
update jobs
set state = 'failed', runner = null, finished_at = now(), updated_at = now(),
  error = coalesce(error, format('The worker ended %s times while it was at this.', attempts))
where state in ('queued', 'running') and attempts >= :max_attempts
  and (lease_until is null or lease_until < now())
returning tenant_id, id, kind
""")

# Across tenants: the restart of stalled jobs. What was sent not `grace` seconds ago is on its way;
# what another version does is left to that.
STALLED_JOBS = text("""
/* stalled_jobs */
update jobs set runner = null, lease_until = null, updated_at = now()
where (tenant_id, id) in (
  select tenant_id, id from jobs
  where state in ('queued', 'running') and attempts < :max_attempts
    and kind = any(cast(:kinds as text[]))
    and case when lease_until is null then updated_at <= now() - make_interval(secs => :grace)
      else lease_until < now() end
  order by created_at limit :most for update skip locked
)
returning tenant_id, id, kind, done, total
""")

CANCEL_JOB = text("""
/* cancel_job */
update jobs
set state = 'cancelled', runner = null, lease_until = null, updated_at = now(),
  finished_at = now()
where tenant_id = :tenant_id and id = :id and state in ('queued', 'running')
returning id
""")

# It goes on where it stood. One with a key waits while another with that key is at work.
RETRY_JOB = text("""
/* retry_job */
update jobs
set state = 'queued', runner = null, lease_until = null, attempts = 0, error = null,
  result = null, updated_at = now(), finished_at = null
where tenant_id = :tenant_id and id = :id and state in ('failed', 'cancelled')
returning id
""")

# Across tenants: the purge. The last of a kind that was completed for all tenants stays: how long
# ago that was is what alerts ask.
PURGE_JOBS = text("""
/* purge_jobs */
delete from jobs where (tenant_id, id) in (
  select tenant_id, id from jobs
  where state in ('completed', 'failed', 'cancelled')
    and finished_at < now() - make_interval(days => :days)
    and not (tenant_id = '*' and state = 'completed' and not exists (
      select from jobs as later where later.tenant_id = '*' and later.kind = jobs.kind
        and later.state = 'completed' and later.finished_at > jobs.finished_at))
  limit :most for update skip locked)
""")

# For a process that does without beat. A store where the schedule has begun nothing yet counts from
# its first model: what is done nightly is due after the first night, whoever was up then.
LAST_SCHEDULED = text("""
/* last_scheduled */
select coalesce(
  (select max(created_at) from jobs where kind = :kind and started_by = :scheduler),
  (select min(created_at) from embedding_models)
)
""")

# Across tenants: health.
LAST_COMPLETED = text("""
/* last_completed */
select max(finished_at) from jobs
where kind = :kind and state = 'completed'
  and coalesce((arguments ->> 'dry_run')::boolean, false) = false
""")

SHOWN = [
    jobs.c.id,
    jobs.c.kind,
    jobs.c.tenant_id,
    jobs.c.state,
    jobs.c.arguments,
    jobs.c.done,
    jobs.c.total,
    jobs.c.result,
    jobs.c.error,
    jobs.c.started_by,
    jobs.c.created_at,
    jobs.c.started_at,
    jobs.c.updated_at,
    jobs.c.finished_at,
]


def jobs_by_id(ids: Sequence[UUID], tenants: Sequence[str] | None = None) -> Select[Any]:
    """The jobs of `ids`, in no order: of `tenants`, or of all that the transaction may see."""
    found = select(*SHOWN).prefix_with("/* jobs_by_id */").where(jobs.c.id.in_(ids))
    return found if tenants is None else found.where(jobs.c.tenant_id.in_(tenants))


def jobs_page(
    tenants: Sequence[str] | None,
    kind: JobKind | None,
    state: JobState | None,
    before: UUID | None,
    most: int,
) -> Select[Any]:
    """At most `most` jobs, the newest first, older than `before`; None filters nothing."""
    wanted = {jobs.c.kind: kind, jobs.c.state: state}
    page = select(*SHOWN).prefix_with("/* jobs_page */")
    page = page.where(*(column == value for column, value in wanted.items() if value))
    if tenants is not None:
        page = page.where(jobs.c.tenant_id.in_(tenants))
    if before is not None:
        page = page.where(jobs.c.id < before)
    return page.order_by(jobs.c.id.desc()).limit(most)


def job_from_row(row: Row[Any]) -> Job:
    """The job of a row of `jobs_by_id` or `jobs_page`."""
    values = dict(row._mapping)
    tenant_id = values.pop("tenant_id")
    return Job(**values, tenant_id=None if tenant_id == ALL_TENANTS else tenant_id)
