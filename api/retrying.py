"""`/v1/admin/embeddings/retry`: another try for messages that could not be embedded."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, post
from litestar.params import RawBody
from msgspec import Meta

from api.bodies import check_json, read
from api.entry import ADMIN, enter_one_or_all, record, who
from api.openapi import documented_body
from api.runtime import NamedRuntime, Runtime
from api.starting import embed_soon, start
from db.queries.audit import INSERT_RECORD
from db.queries.retrying import COUNT_FAILED_OF_TENANT, RETRY_OF_TENANT
from db.sessions import tenant_transaction
from memory.errors import InvalidFieldError
from memory.jobs import ALL_TENANTS, Job
from memory.messages import TenantId
from tasks.retrying import new_retry

HttpRequest = Request[Any, Any, Any]
# More than so many are a job.
FEW = 1_000


class RetryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The failed messages of all tenants, of one with `tenant_id`, or the named ones of one."""

    tenant_id: TenantId | None = None
    message_ids: Annotated[list[UUID], Meta(min_length=1, max_length=FEW)] | None = None


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages are pending again."""

    retried: int


REQUEST = msgspec.json.Decoder(RetryRequest)


@post(
    "/v1/admin/embeddings/retry",
    operation_class=documented_body(RetryRequest),
    status_code=200,
    tags=["admin"],
    opt=ADMIN,
)
async def retry_embeddings(
    request: HttpRequest, runtime: NamedRuntime, body: RawBody
) -> Response[Retried | Job]:
    """Have failed messages embedded after all, as if they were new.

    200 when they are on their way; 202 with the job when they are over 1,000, or of all tenants.
    """
    check_json(request)
    asked = read(REQUEST, body)
    if asked.message_ids and asked.tenant_id is None:
        raise InvalidFieldError("message_ids", "goes with the tenant_id of these messages")
    await enter_one_or_all(request, runtime, asked.tenant_id)
    if asked.tenant_id is not None:
        ids = await few_retried(request, runtime, asked.tenant_id, asked.message_ids)
        if ids is not None:
            embed_soon(request, runtime, asked.tenant_id, ids)
            return Response(Retried(retried=len(ids)), status_code=200)
    job = await start(request, runtime, new_retry(asked.tenant_id or ALL_TENANTS, who(request)))
    return Response(job, status_code=202, headers={"Location": f"/v1/jobs/{job.id}"})


async def few_retried(
    request: HttpRequest, runtime: Runtime, tenant_id: str, named: list[UUID] | None
) -> list[UUID] | None:
    """The failed messages of a tenant, or those `named`, pending again; None if they are many."""
    async with tenant_transaction(runtime.engine, [tenant_id]) as connection:
        if named is None:
            scope = {"tenant_id": tenant_id, "most": FEW + 1}
            if (await connection.scalar(COUNT_FAILED_OF_TENANT, scope) or 0) > FEW:
                return None
        wanted = {"tenant_id": tenant_id, "ids": named}
        retried = list((await connection.scalars(RETRY_OF_TENANT, wanted)).all())
        done = record(request, tenant_id, "retry_embeddings", {"messages": len(retried)})
        await connection.execute(INSERT_RECORD, done)
        return retried
