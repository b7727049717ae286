"""`/v1/admin/retention/run`: a retention run by hand, or what one would do."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post
from litestar.params import RawBody
from msgspec import UNSET, Meta, UnsetType

from api.bodies import check_json, read
from api.entry import ADMIN, enter_one_or_all, who
from api.openapi import documented_body
from api.runtime import NamedRuntime, Runtime
from api.starting import job_of, send, start
from memory.errors import InvalidFieldError
from memory.jobs import ALL_TENANTS, Job
from memory.messages import TenantId
from memory.retention import ACTIONS, Action, DueMessage
from memory.retention_runs import Run
from tasks.due import count_up_to, due_page
from tasks.jobs import work
from tasks.retention import expire_step, new_run

HttpRequest = Request[Any, Any, Any]
# A run that touches no more, and is counted in so many seconds, is done within the request.
SMALL_RUN = 1_000
COUNT_SECONDS = 2.0
SMALL_RUN_SECONDS = 10.0
# Of the request's time, what may be spent on waiting for a run.
PATIENCE = 0.8
POLL_SECONDS = 0.1
PAGE_MOST = 1_000


class RetentionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run for a tenant, or for all without `tenant_id`.

    `wait` true asks for an answer when the run has ended, false for one at once; without it a
    small run is waited for. `list` has a dry run for one tenant name the messages, `limit` at a
    time; `after` is the `next` of the page before.
    """

    tenant_id: TenantId | None = None
    actions: Annotated[list[Action], Meta(min_length=1, max_length=2)] = msgspec.field(
        default_factory=lambda: [*ACTIONS]
    )
    dry_run: bool = False
    wait: bool | None = None
    list: bool = False
    limit: Annotated[int, Meta(ge=1, le=PAGE_MOST)] = 100
    after: str | None = None


class RetentionOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has done, or with `dry_run` would do at this moment."""

    archived: int
    deleted: int
    dry_run: bool
    tenants: int
    job_id: str
    items: list[DueMessage] | UnsetType = UNSET
    next: str | UnsetType | None = UNSET


REQUEST = msgspec.json.Decoder(RetentionRequest)


@post(
    "/v1/admin/retention/run",
    operation_class=documented_body(RetentionRequest),
    status_code=200,
    tags=["admin"],
    opt=ADMIN,
)
async def run_retention(
    request: HttpRequest, runtime: NamedRuntime, body: RawBody
) -> Response[RetentionOutcome | Job]:
    """Archive what is old and matters little, and delete what was archived long ago.

    200 with the counts when the run has ended; 202 with its job when it goes on in the background.
    """
    check_json(request)
    asked = read(REQUEST, body)
    check(asked)
    await enter_one_or_all(request, runtime, asked.tenant_id)
    tenant_id = asked.tenant_id or ALL_TENANTS
    run = Run(
        as_of=datetime.now(UTC),
        actions=tuple(action for action in ACTIONS if action in asked.actions),
        dry_run=asked.dry_run,
    )
    job = await carry_out(request, runtime, asked, run)
    if job.state != "completed" or job.result is None:
        return Response(job, status_code=202, headers={"Location": f"/v1/jobs/{job.id}"})
    outcome = RetentionOutcome(**job.result, job_id=str(job.id))
    if asked.list:
        page = await asyncio.to_thread(
            due_page, runtime.backstage, run, tenant_id, asked.after, asked.limit
        )
        outcome = msgspec.structs.replace(outcome, items=page.items, next=page.next)
    return Response(outcome, status_code=200)


def check(asked: RetentionRequest) -> None:
    """Raise `InvalidFieldError` for fields that do not go together."""
    if asked.list and not (asked.dry_run and asked.tenant_id):
        raise InvalidFieldError("list", "goes with dry_run and a tenant_id")
    if asked.after is not None and not asked.list:
        raise InvalidFieldError("after", "goes with list")


async def carry_out(
    request: HttpRequest, runtime: Runtime, asked: RetentionRequest, run: Run
) -> Job:
    """The job of the run, after as much of it as the caller waits for."""
    new = new_run(run, asked.tenant_id or ALL_TENANTS, who(request))
    small = asked.wait is not False and await is_small(runtime, run, new.tenant_id)
    whole = runtime.settings.request_timeout_seconds * PATIENCE
    soon = min(SMALL_RUN_SECONDS, whole)
    job = await start(request, runtime, new, send_now=False)
    if small and files_are_ours(runtime, run):
        await asyncio.to_thread(work, runtime.backstage, new.tenant_id, job.id, expire_step, soon)
        job = await job_of(runtime, job.id)
    if job.ended:
        return job
    await send(runtime, job)
    return await ended(runtime, job, whole if asked.wait else soon if small else 0)


async def is_small(runtime: Runtime, run: Run, tenant_id: str) -> bool:
    """Whether the run touches few messages."""
    touched = await asyncio.to_thread(
        count_up_to, runtime.backstage, run, tenant_id, SMALL_RUN, COUNT_SECONDS
    )
    return touched is not None


def files_are_ours(runtime: Runtime, run: Run) -> bool:
    """Whether this process may do the run: the folder for what is deleted is the workers'."""
    writes = "delete" in run.actions and not run.dry_run and runtime.settings.archive_dir
    return not (writes and runtime.settings.async_embeddings)


async def ended(runtime: Runtime, job: Job, seconds: float) -> Job:
    """The job when it has ended, or as it is after so many seconds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not job.ended and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        job = await job_of(runtime, job.id)
    return job
