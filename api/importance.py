"""`/v1/admin/importance/run`: a rescoring by hand."""

from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.params import RawBody

from api.bodies import check_json, read
from api.entry import ADMIN, enter_one_or_all, who
from api.openapi import documented_body
from api.runtime import NamedRuntime
from api.starting import start
from memory.jobs import ALL_TENANTS, Job
from memory.messages import TenantId
from tasks.jobs import NewJob


class RescoringRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rescoring of a tenant's messages, or without `tenant_id` of all."""

    tenant_id: TenantId | None = None


REQUEST = msgspec.json.Decoder(RescoringRequest)


@post(
    "/v1/admin/importance/run",
    operation_class=documented_body(RescoringRequest),
    status_code=202,
    tags=["admin"],
    opt=ADMIN,
)
async def rescore_importance(
    request: Request[Any, Any, Any], runtime: NamedRuntime, body: RawBody
) -> Response[Job]:
    """Bring importance up to date now, as is done every hour; the answer is the job that does."""
    check_json(request)
    asked = read(REQUEST, body)
    await enter_one_or_all(request, runtime, asked.tenant_id)
    new = NewJob("rescore", asked.tenant_id or ALL_TENANTS, {}, who(request))
    job = await start(request, runtime, new)
    return Response(job, status_code=202, headers={"Location": f"/v1/jobs/{job.id}"})
