"""Starting work from a request: what is to be done is in a row, and the workers hear of it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from litestar import Request

from api.entry import record
from api.runtime import Runtime
from db.queries.audit import INSERT_RECORD
from db.queries.jobs import job_from_row, jobs_by_id
from db.sessions import visible_tenants, visible_transaction
from memory.errors import JobNotFoundError
from memory.jobs import ALL_TENANTS, Job
from tasks.jobs import NewJob, start_job


async def start(
    request: Request[Any, Any, Any], runtime: Runtime, new: NewJob, *, send_now: bool = True
) -> Job:
    """A new job, or the active one that has its key; committed with its record, and soon begun.

    Without `send_now` it is left to the caller to work on it or to `send` it. A broker that is
    down neither fails nor slows this: the row is what counts.
    """
    async with visible_transaction(runtime.engine) as connection:
        job_id = await connection.run_sync(start_job, new)
        found = await connection.execute(jobs_by_id([job_id], visible_tenants()))
        job = job_from_row(found.one())
        details = {"job_id": job.id, "kind": job.kind, "arguments": job.arguments}
        done = record(request, new.tenant_id, "start_job", details)
        await connection.execute(INSERT_RECORD, done)
    if send_now:
        await send(runtime, job)
    return job


async def send(runtime: Runtime, job: Job) -> None:
    """Have a committed job begun: by the workers, or where there are none by the upkeep."""
    if runtime.publisher:
        tenant_id = job.tenant_id or ALL_TENANTS
        runtime.later(runtime.publisher.send_job(job.kind, tenant_id, job.id))
    if runtime.upkeep:
        runtime.upkeep.wake()


def embed_soon(
    request: Request[Any, Any, Any], runtime: Runtime, tenant_id: str, ids: Sequence[UUID]
) -> None:
    """Have pending messages embedded: by the workers, or where there are none by the upkeep."""
    if runtime.publisher:
        pairs = [(tenant_id, id_) for id_ in ids]
        runtime.publisher.publish(pairs, request.scope["request_id"])  # type: ignore[typeddict-item]
    if runtime.upkeep:
        runtime.upkeep.wake()


async def job_of(runtime: Runtime, job_id: UUID) -> Job:
    """The job `job_id` as it stands; `JobNotFoundError` without one that is the caller's."""
    async with visible_transaction(runtime.engine) as connection:
        found = await connection.execute(jobs_by_id([job_id], visible_tenants()))
        row = found.one_or_none()
    if row is None:
        raise JobNotFoundError
    return job_from_row(row)
