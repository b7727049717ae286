"""What beat and the workers do now and then, for a process that has neither.

Some chores are done in every round. The others are due when `beat_schedule.py` says so; when the
last run was is remembered here, and of what the schedule does as a job by the job's row.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from celery.schedules import crontab

from beat_schedule import beat_schedule
from db.queries.jobs import LAST_SCHEDULED
from memory.jobs import JobKind
from memory.settings import Settings
from tasks.backups import work_beside
from tasks.embedding import claim, embed_claimed
from tasks.filling import move_obstacle
from tasks.housekeeping import purge_keys
from tasks.indexing import refresh, reindex_slice
from tasks.jobs import GOES_ON, start_job, work
from tasks.kinds import IN_SLICES, SCHEDULED, STEPS
from tasks.measuring import measure
from tasks.resources import Resources
from tasks.retention import SCHEDULE
from tasks.sending import TASK_OF
from tasks.stalled import purge, stalled_jobs
from tasks.statistics import refresh_old
from tasks.sweeping import overdue_messages, sweep_lots

log = structlog.get_logger(__name__)

# So long a chore is at it before the next one has its turn.
TURN_SECONDS = 2.0


class Turn:
    """A chore's time; it is over early when `ending` says so."""

    def __init__(self, seconds: float, ending: Callable[[], bool]) -> None:
        self._until = time.monotonic() + seconds
        self._ending = ending

    @property
    def left(self) -> float:
        """How many seconds are left."""
        return 0.0 if self._ending() else max(0.0, self._until - time.monotonic())


# Does some of what there is to do, while its turn lasts; whether there is more.
Chore = Callable[[Resources, Turn], bool]


def reindex(resources: Resources, turn: Turn) -> bool:
    """Make terms anew that are to be."""
    while more := reindex_slice(resources):
        if not turn.left:
            break
    return more


def embed_pending(resources: Resources, turn: Turn) -> bool:
    """Embed what is pending: a restored message, one that is tried again, one of another time."""
    overdue = overdue_messages(resources, grace=0)
    lots, _ = sweep_lots(overdue, most=len(overdue))
    if lots:
        resources.check_model()
    embedded = 0
    claims = [(lot.tenant_id, ids, lot.tried) for lot in lots for ids in lot.claims]
    for tenant_id, ids, tried in claims:
        if obstacle := resources.obstacle(tried=tried):
            log.warning("messages_left_pending", reason=obstacle)
            break
        claimed = claim(resources, tenant_id, ids, tried)
        embed_claimed(resources, tenant_id, claimed)
        resources.answers.changed(tenant_id)
        if resources.growth.add(tenant_id, len(claimed)):
            refresh(resources, tenant_id)
        embedded += len(claimed)
        if not turn.left:
            break
    return embedded > 0


def work_on_jobs(resources: Resources, turn: Turn) -> bool:
    """Work on the jobs that nobody holds, each for a share of the time."""
    stalled = stalled_jobs(resources, grace=0)
    jobs = [row for row in stalled if row.kind in IN_SLICES and may_go_on(resources, row)]
    for row in stalled:
        if row.kind in STEPS and row.kind not in IN_SLICES:
            work_beside(resources, row.tenant_id, row.id)
    share = turn.left / max(1, len(jobs))
    said = [work(resources, row.tenant_id, row.id, STEPS[row.kind], share) for row in jobs]
    return any(each.startswith(GOES_ON) for each in said)


def may_go_on(resources: Resources, job: Any) -> bool:
    """Whether a job may be taken, which costs it an attempt when it comes to nothing."""
    obstacle = move_obstacle(resources) if job.kind == "embeddings_migrate" else ""
    if obstacle:
        log.warning("job_left_waiting", kind=job.kind, job=str(job.id), reason=obstacle)
    return not obstacle


ALWAYS: dict[str, Chore] = {
    "restart_stalled_jobs": work_on_jobs,
    "sweep_pending": embed_pending,
    "reindex_terms": reindex,
}

# What one of these leaves over waits for the next time.
NOW_AND_THEN: dict[str, Callable[[Resources], object]] = {
    "measure_store": measure,
    "refresh_all_statistics": lambda resources: refresh_old(resources, "", TURN_SECONDS),
    "purge_idempotency_keys": purge_keys,
    "purge_jobs": purge,
}


class Schedule:
    """The entries that are due now and then, and when each was done last."""

    def __init__(self, settings: Settings) -> None:
        entries = beat_schedule(settings).values()
        self._schedule_of = {entry["task"]: entry["schedule"] for entry in entries}
        self._done: dict[str, datetime] = {}

    def keep(self, resources: Resources, now: datetime) -> None:
        """Do what is due at `now`; of jobs, begin them."""
        for kind, new in SCHEDULED.items():
            schedule = self._schedule_of.get(TASK_OF[kind])
            last = last_begun(resources, kind)
            if schedule and last and is_due(schedule, last, now):
                with resources.engine.begin() as connection:
                    start_job(connection, new(resources.settings, now))
        for task, do in NOW_AND_THEN.items():
            last = self._done.get(task)
            if last is None or is_due(self._schedule_of[task], last, now):
                do(resources)
                self._done[task] = now


def last_begun(resources: Resources, kind: JobKind) -> datetime | None:
    """When the schedule began a job of this kind last; None in a store without a model."""
    with resources.engine.begin() as connection:
        parameters = {"kind": kind, "scheduler": SCHEDULE}
        last: datetime | None = connection.scalar(LAST_SCHEDULED, parameters)
    return last


def is_due(schedule: timedelta | crontab, last: datetime, now: datetime) -> bool:
    """Whether what was done `last` is to be done again by `now`."""
    if isinstance(schedule, timedelta):
        return now - last >= schedule
    began, wait, _ = schedule.remaining_delta(last)
    return bool(began + wait <= now)
