"""Jobs that nobody works on, and jobs that ended long ago."""

from typing import Any

import structlog
from celery import shared_task

from db.queries.jobs import FAIL_EXHAUSTED_JOBS, PURGE_JOBS, STALLED_JOBS
from tasks.base import Task
from tasks.jobs import MAX_ATTEMPTS, progress
from tasks.resources import Resources
from tasks.sending import TASK_OF, send_again, send_job
from tasks.transfers import purge_transfers

log = structlog.get_logger(__name__)

# What was sent so long ago, and nobody holds, is taken for lost; it may only have waited its turn.
STALLED_GRACE_SECONDS = 60
STALLED_JOBS_AT_ONCE = 100
KEEP_DAYS = 30
PURGE_AT_ONCE = 5_000


@shared_task(name="restart_stalled_jobs", base=Task, bind=True)
def restart_stalled_jobs(task: Task) -> str:
    """Send what nobody works on: lost by the broker, or by a worker that died."""
    restarted = stalled_jobs(task.resources)
    for row in restarted:
        send_job(task.app, row.kind, row.tenant_id, row.id, progress(row))
    return f"{len(restarted)} restarted"


def stalled_jobs(resources: Resources, grace: float = STALLED_GRACE_SECONDS) -> list[Any]:
    """The active jobs that nobody holds; those that are out of tries end here."""
    limits = {"max_attempts": MAX_ATTEMPTS}
    scope = {**limits, "grace": grace, "most": STALLED_JOBS_AT_ONCE, "kinds": list(TASK_OF)}
    with resources.engine.begin() as connection:
        failed = connection.execute(FAIL_EXHAUSTED_JOBS, limits).all()
        stalled = list(connection.execute(STALLED_JOBS, scope))
    for row in failed:
        resources.metrics.jobs_ended.labels(row.kind, "failed").inc()
        log.error("job_given_up", kind=row.kind, job=str(row.id), tenant_id=row.tenant_id)
    return stalled


@shared_task(name="purge_jobs", base=Task, bind=True)
def purge_jobs(task: Task) -> str:
    """Delete jobs that ended over 30 days ago, slice by slice until none is left.

    And the files of exports and imports that are over a day old.
    """
    purged = purge(task.resources)
    if purged == PURGE_AT_ONCE:
        send_again(task.app, task.name)
    return f"{purged} purged"


def purge(resources: Resources) -> int:
    """Delete a slice of them; how many jobs there were."""
    purge_transfers(resources)
    scope = {"days": KEEP_DAYS, "most": PURGE_AT_ONCE}
    with resources.engine.begin() as connection:
        return connection.execute(PURGE_JOBS, scope).rowcount
