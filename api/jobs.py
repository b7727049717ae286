"""`/v1/jobs`: long work, to be looked up, watched, cancelled and tried again."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage
from sqlalchemy.exc import IntegrityError

from api.bodies import read_id
from api.entry import ADMIN, READ, asked_tenants, caller_of, enter, record
from api.problems import BusyError
from api.runtime import NamedRuntime, Runtime
from api.starting import job_of, send
from db.queries.audit import INSERT_RECORD
from db.queries.jobs import CANCEL_JOB, RETRY_JOB, job_from_row, jobs_page
from db.sessions import visible_transaction
from memory.access import Caller
from memory.errors import StateConflictError
from memory.jobs import ALL_TENANTS, Job, JobKind, JobState
from memory.messages import TENANT_OR_ALL_PATTERN

PAGE_MOST = 200
CHANGES = {"cancel_job": CANCEL_JOB, "retry_job": RETRY_JOB}

HttpRequest = Request[Any, Any, Any]
JobId = Annotated[str, PathParameter(description="The job's id, a UUID.")]


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs, the newest first; `next` is the `before` of the next page, null when there is none."""

    items: list[Job]
    next: UUID | None


@get("/v1/jobs", tags=["jobs"], opt=READ)
async def list_jobs(
    request: HttpRequest,
    runtime: NamedRuntime,
    tenant_id: Annotated[
        str | None, QueryParameter(min_length=1, max_length=64, pattern=TENANT_OR_ALL_PATTERN)
    ] = None,
    kind: Annotated[JobKind | None, QueryParameter()] = None,
    state_: Annotated[JobState | None, QueryParameter(name="state")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MOST)] = 50,
    before: Annotated[UUID | None, QueryParameter()] = None,
) -> JobPage:
    """Jobs of all tenants or of one, the newest first. Those that ended are kept for 30 days."""
    tenants = await asked_tenants(request, runtime, tenant_id)
    async with visible_transaction(runtime.engine) as connection:
        page = jobs_page(tenants, kind, state_, before, limit + 1)
        items = [job_from_row(row) for row in await connection.execute(page)]
    more = len(items) > limit
    return JobPage(items=items[:limit], next=items[limit - 1].id if more else None)


@get("/v1/jobs/{job_id:str}", tags=["jobs"], opt=READ)
async def get_job(request: HttpRequest, runtime: NamedRuntime, job_id: JobId) -> Job:
    """A job: how far it is, and how it ended."""
    return await found(request, runtime, job_id)


@post("/v1/jobs/{job_id:str}/cancel", status_code=200, tags=["jobs"], opt=ADMIN)
async def cancel_job(request: HttpRequest, runtime: NamedRuntime, job_id: JobId) -> Job:
    """End a job. What it has done stays done; the slice under way is undone.

    To cancel a cancelled job changes nothing; one that has ended otherwise is a 409.
    """
    before = await found(request, runtime, job_id)
    await changed(request, runtime, "cancel_job", before)
    after = await job_of(runtime, before.id)
    if after.state != "cancelled":
        raise StateConflictError(f"The job has ended: it is {after.state}.")
    return after


@post("/v1/jobs/{job_id:str}/retry", status_code=202, tags=["jobs"], opt=ADMIN)
async def retry_job(request: HttpRequest, runtime: NamedRuntime, job_id: JobId) -> Job:
    """Have a failed or cancelled job go on from where it stood; 409 for any other."""
    before = await found(request, runtime, job_id)
    try:
        retried = await changed(request, runtime, "retry_job", before)
    except IntegrityError:
        raise StateConflictError("Another job that does the same is at work.") from None
    after = await job_of(runtime, before.id)
    if not retried:
        raise StateConflictError(f"It is {after.state}: only what failed or was cancelled can be.")
    await send(runtime, after)
    return after


@get(
    "/v1/jobs/{job_id:str}/events",
    tags=["jobs"],
    opt=READ,
    responses={
        200: ResponseSpec(
            data_container=str,
            generate_examples=False,
            media_type="text/event-stream",
            description="`progress` and `end` events, each with the job as JSON",
        )
    },
)
async def job_events(request: HttpRequest, runtime: NamedRuntime, job_id: JobId) -> ServerSentEvent:
    """The job as server-sent events: `progress` at once and after each change, `end` at the end.

    Who connects again is told how the job stands now, whatever `Last-Event-ID` says.
    """
    job = await found(request, runtime, job_id)
    caller = caller_of(request)
    if not runtime.watch.has_room(caller.name):
        raise BusyError
    return ServerSentEvent(events(runtime, job, caller))


async def events(
    runtime: Runtime, job: Job, caller: Caller
) -> AsyncIterator[ServerSentEventMessage]:
    """What is sent to one who watches `job`, for as long as the caller's key opens."""
    still_opens = partial(runtime.door.still_opens, caller)
    async for each in runtime.watch.follow(job, caller.name, still_opens):
        if each is None:
            yield ServerSentEventMessage(comment="still here", data=None)
            continue
        job = each
        yield ServerSentEventMessage(event="progress", data=msgspec.json.encode(job))
    if job.ended:
        yield ServerSentEventMessage(event="end", data=msgspec.json.encode(job))


async def found(request: HttpRequest, runtime: Runtime, job_id: str) -> Job:
    """The job with this id; raises `InvalidFieldError` or `JobNotFoundError`."""
    job = await job_of(runtime, read_id("job_id", job_id))
    if job.tenant_id is not None:
        await enter(request, runtime, job.tenant_id)
    return job


async def changed(request: HttpRequest, runtime: Runtime, action: str, job: Job) -> bool:
    """Whether `action`, one of `CHANGES`, has changed the row of `job`; if so, that is recorded."""
    tenant_id = job.tenant_id or ALL_TENANTS
    named = {"tenant_id": tenant_id, "id": job.id}
    async with visible_transaction(runtime.engine) as connection:
        done = await connection.scalar(CHANGES[action], named) is not None
        if done:
            details = {"job_id": job.id, "kind": job.kind}
            written = record(request, tenant_id, action, details)
            await connection.execute(INSERT_RECORD, written)
    return done
