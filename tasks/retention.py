"""Retention runs: tenant by tenant, slice by slice."""

from datetime import UTC, datetime

import msgspec
from celery import shared_task
from sqlalchemy import Connection

from db.queries.audit import INSERT_RECORD, record_parameters
from db.queries.retention import NEXT_TENANT
from memory.jobs import ALL_TENANTS
from memory.retention_runs import FIRST, Place, Run
from memory.settings import Settings
from memory.values import split_list
from tasks.base import Task
from tasks.expiring import Slice, seconds_since
from tasks.indexing import refresh
from tasks.jobs import Held, NewJob, Values, run_job, start_job
from tasks.resources import Resources

SCHEDULE = "schedule"


@shared_task(name="expire_messages", base=Task, bind=True)
def expire_messages(task: Task, tenant_id: str = ALL_TENANTS, job_id: str | None = None) -> str:
    """Work on a retention run; without a job, begin the one that the schedule wants."""
    if job_id is None:
        with task.resources.engine.begin() as connection:
            new = scheduled_run(task.resources.settings, datetime.now(UTC))
            job_id = str(start_job(connection, new))
    return run_job(task, "retention", expire_step, tenant_id, job_id)


def scheduled_run(settings: Settings, now: datetime) -> NewJob:
    """The job of the schedule; while one is at work there is no second."""
    named = split_list(settings.retention_tenants)
    tenants = None if "*" in named else sorted(set(named))
    return new_run(Run(as_of=now, tenants=tenants), ALL_TENANTS, SCHEDULE, SCHEDULE)


def new_run(run: Run, tenant_id: str, started_by: str, unique_key: str | None = None) -> NewJob:
    """The job of `run`."""
    return NewJob("retention", tenant_id, msgspec.to_builtins(run), started_by, unique_key)


def expire_step(resources: Resources, held: Held) -> Values | None:
    """Do the next slice of a run; its result when there is none."""
    run = msgspec.convert(held.arguments, Run)
    place = msgspec.convert(held.position, Place)
    archived, deleted = place.here.archived, place.here.deleted
    ended = False
    with resources.engine.begin() as connection:
        if place.phase == "choose":
            ended = not choose(connection, held, run, place)
        else:
            Slice(connection, resources, held, run, place).do()
    if ended:
        return {
            "archived": place.archived,
            "deleted": place.deleted,
            "dry_run": run.dry_run,
            "tenants": place.tenants,
        }
    if not run.dry_run and place.phase != "choose":
        resources.metrics.retention.labels("archived").inc(place.here.archived - archived)
        resources.metrics.retention.labels("deleted").inc(place.here.deleted - deleted)
        tell(resources, place)
    return None


def choose(connection: Connection, held: Held, run: Run, place: Place) -> bool:
    """Go on to the next tenant; False when there is none, with a record of the whole run left."""
    following = next_tenant(connection, held, run, place.tenant)
    if following is None:
        if held.about_all:
            total = {"archived": place.archived, "deleted": place.deleted}
            details = {"job": held.id, "run": run, "counts": total}
            details["seconds"] = seconds_since(held.started_at)
            record = record_parameters(
                ALL_TENANTS, held.started_by, "retention", details, record_id=held.id
            )
            connection.execute(INSERT_RECORD, record)
        return False
    place.tenant, place.after = following, FIRST
    place.begun = datetime.now(UTC)
    archiving = "archive" in run.actions
    place.phase = "count" if run.dry_run else "aged" if archiving else "delete"
    held.advance(connection, msgspec.to_builtins(place))
    return True


def next_tenant(connection: Connection, held: Held, run: Run, after: str) -> str | None:
    """The tenant after `after` of those that the run is about."""
    if not held.about_all:
        return None if after else held.tenant_id
    if run.tenants is not None:
        return next((tenant_id for tenant_id in run.tenants if tenant_id > after), None)
    found: str | None = connection.scalar(NEXT_TENANT, {"after": after})
    return found


def tell(resources: Resources, place: Place) -> None:
    """After the commit: what was kept for the tenant is old, and so may its statistics be."""
    if place.here.archived or place.here.deleted:
        resources.answers.changed(place.tenant)
        if place.phase == "close":
            refresh(resources, place.tenant, anyway=True)
