"""The lexical index behind the writers: contexts, statistics, and terms made anew."""

import time
from collections.abc import Sequence
from uuid import UUID

import structlog
from celery import shared_task
from sqlalchemy import Connection

from db.queries.reindexing import (
    END_REINDEXING,
    NEXT_MESSAGES,
    NEXT_TENANT,
    NOTE_REINDEXED,
)
from db.queries.tenants import settings_from_row, settings_of
from db.queries.terms import (
    LIVE_AND_COUNTED,
    REFRESH_STATISTICS,
    TRY_REFRESH_LOCK,
    WITH_PREVIOUS,
    WRITE_TERMS,
    content_entries,
    context_entries,
    term_parameters,
)
from memory.lexical.analysis import Analyser, analyser
from memory.tenants import TenantSettings, effective
from tasks.base import Task
from tasks.ending import ending
from tasks.growth import GROWTH
from tasks.resources import Resources
from tasks.sending import send_again

log = structlog.get_logger(__name__)

REINDEX_MESSAGES = 250
TASK_ENOUGH_SECONDS = 20
# Below so many messages a search counts for itself.
COUNTED_FROM = 1_000


def analyser_of(resources: Resources, connection: Connection, tenant_id: str) -> Analyser:
    """The analyser of a tenant's language."""
    row = connection.execute(settings_of([tenant_id])).one_or_none()
    own = settings_from_row(row) if row else TenantSettings()
    return analyser(effective(resources.settings, own).language)


def write_contexts(resources: Resources, tenant_id: str, ids: Sequence[UUID]) -> None:
    """Index each of `ids`, and what follows it, together with the message before."""
    with resources.engine.begin() as connection:
        words = analyser_of(resources, connection, tenant_id)
        rows = connection.execute(WITH_PREVIOUS, {"tenant_id": tenant_id, "ids": list(ids)}).all()
        entries = context_entries(words, tenant_id, rows)
        if entries:
            parameters = {"tenant_id": tenant_id, **term_parameters(entries)}
            connection.execute(WRITE_TERMS, parameters)


@shared_task(name="refresh_statistics", base=Task, bind=True)
def refresh_statistics(task: Task, tenant_id: str) -> str:
    """Count the terms of a tenant anew, if it is large and has changed much since."""
    return "counted" if refresh(task.resources, tenant_id) else "not needed yet"


def refresh(resources: Resources, tenant_id: str, *, anyway: bool = False) -> bool:
    """Count the terms of a tenant, if it has statistics or is large, and has changed much."""
    tenant = {"tenant_id": tenant_id}
    with resources.engine.begin() as connection:
        if not connection.scalar(TRY_REFRESH_LOCK, tenant):
            return False
        live, counted = connection.execute(LIVE_AND_COUNTED, tenant).one()
        if not (is_old(live, counted) or (anyway and counted is not None)):
            return False
        started = time.perf_counter()
        connection.execute(REFRESH_STATISTICS, tenant)
    took = round((time.perf_counter() - started) * 1000)
    log.info("statistics_refreshed", tenant_id=tenant_id, messages=live, milliseconds=took)
    return True


def is_old(live: int, counted: int | None) -> bool:
    """Whether statistics of `counted` messages, None for none, no longer do for `live` ones."""
    if counted is None:
        return live >= COUNTED_FROM
    return live != counted and abs(live - counted) >= GROWTH * counted


@shared_task(name="reindex_terms", base=Task, bind=True)
def reindex_terms(task: Task) -> str:
    """Make the terms of tenants anew that want it, slice by slice, for some seconds."""
    enough = time.monotonic() + TASK_ENOUGH_SECONDS
    slices = 0
    while reindex_slice(task.resources):
        slices += 1
        if time.monotonic() > enough or ending():
            send_again(task.app, task.name)
            return f"{slices} slices, goes on"
    return f"{slices} slices" if slices else "nothing to do"


def reindex_slice(resources: Resources) -> bool:
    """Make the terms of the next messages anew; whether there may be more to do."""
    with resources.engine.begin() as connection:
        job = connection.execute(NEXT_TENANT).one_or_none()
        if job is None:
            return False
        tenant = {"tenant_id": job.tenant_id}
        ids = list(
            connection.execute(
                NEXT_MESSAGES, {**tenant, "after": job.finished_to, "most": REINDEX_MESSAGES}
            ).scalars()
        )
        if ids:
            words = analyser_of(resources, connection, job.tenant_id)
            rows = connection.execute(WITH_PREVIOUS, {**tenant, "ids": ids}).all()
            entries = content_entries(words, job.tenant_id, rows)
            entries += context_entries(words, job.tenant_id, rows)
            connection.execute(WRITE_TERMS, {**tenant, **term_parameters(entries)})
            connection.execute(NOTE_REINDEXED, {**tenant, "finished_to": ids[-1]})
        else:
            connection.execute(END_REINDEXING, tenant)
    resources.answers.changed(job.tenant_id)
    if not ids:
        refresh(resources, job.tenant_id, anyway=True)
        log.info("terms_reindexed", tenant_id=job.tenant_id)
    return True
