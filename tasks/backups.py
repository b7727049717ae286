"""Scheduled backups: a job that one process works on from its begin to its end.

A backup is no slices: pg_dump reads the store as it was at one moment, as long as that takes. So a
thread does it beside the process's tasks, none of which may run for long. While it is at it, it
renews its lease; when its process is killed pg_dump ends with it, the lease runs out, and another
process begins anew.
"""

import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Self
from uuid import UUID

import structlog
from celery import shared_task
from sqlalchemy.exc import SQLAlchemyError

from db.scratch import database_of
from memory.errors import BackupError, JobLostError
from memory.jobs import ALL_TENANTS
from memory.settings import Settings
from tasks.backing_up import back_up, remove_outdated, result_of
from tasks.base import Task
from tasks.jobs import LEASE_SECONDS, Held, NewJob, Values, start_job, work
from tasks.resources import Resources
from tasks.retention import SCHEDULE

log = structlog.get_logger(__name__)

RENEW_SECONDS = 3.0


@shared_task(name="back_up_store", base=Task, bind=True)
def back_up_store(task: Task, tenant_id: str = ALL_TENANTS, job_id: str | None = None) -> str:
    """Have a thread of this process work on a backup; without a job, on the one that is due."""
    if job_id is None:
        with task.resources.engine.begin() as connection:
            new = scheduled_backup(task.resources.settings, datetime.now().astimezone())
            job_id = str(start_job(connection, new))
    work_beside(task.resources, tenant_id, UUID(job_id))
    return f"begun, or another's: job {job_id}"


def scheduled_backup(_settings: Settings, _now: datetime) -> NewJob:
    """The job of the schedule; while one is at work there is no second."""
    return NewJob("backup", ALL_TENANTS, {}, SCHEDULE, "backup")


def work_beside(resources: Resources, tenant_id: str, job_id: UUID) -> threading.Thread:
    """A thread that works on a backup, unless it has ended or is another's."""
    thread = threading.Thread(
        target=work, args=(resources, tenant_id, job_id, backup_step), name="backup", daemon=True
    )
    thread.start()
    return thread


def backup_step(resources: Resources, held: Held) -> Values:
    """Make a backup and remove those that are too many; what is said of it."""
    settings = resources.settings
    if not settings.backup_dir:
        raise BackupError("MEMORY_BACKUP_DIR is not set where this worker runs.")
    folder = Path(settings.backup_dir).expanduser()
    try:
        with Renewal(resources, held) as watcher:
            verify = settings.backup_verify
            manifest = back_up(settings.database_url, folder, watcher, verify=verify)
    finally:
        removed = remove_outdated(folder, database_of(settings.database_url), settings.backup_keep)
    return {**result_of(manifest), "removed": removed}


class Renewal:
    """Keeps a job in this runner's hands while a block lasts, and notes in it how far it is."""

    def __init__(self, resources: Resources, held: Held) -> None:
        self._resources = resources
        self._held = held
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="renewal", daemon=True)
        self._until = time.monotonic() + LEASE_SECONDS
        self._stage, self._done, self._total = "", 0, 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def stage(self, what: str, total: int) -> None:
        """As `Watcher` has it."""
        self._stage, self._done, self._total = what, 0, total
        self.pulse()

    def reached(self, done: int) -> None:
        """As `Watcher` has it."""
        self._done = done
        self.pulse()

    def pulse(self) -> None:
        """Raise `JobLostError` when the job is cancelled, or the lease could not be renewed."""
        if time.monotonic() > self._until:
            raise JobLostError(f"job {self._held.id} is no longer this runner's")

    def _renew(self) -> None:
        while not self._over.wait(RENEW_SECONDS):
            began = time.monotonic()
            try:
                with self._resources.engine.begin() as connection:
                    position = {"stage": self._stage}
                    self._held.renew(connection, position, self._done, self._total)
            except JobLostError:
                self._until = 0.0
                return
            except SQLAlchemyError as error:
                log.warning("lease_not_renewed", reason=type(error).__name__)
            else:
                self._until = began + LEASE_SECONDS
