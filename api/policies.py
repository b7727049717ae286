"""`/v1/admin/tenants/{tenant_id}/policy`: what retention may take of a tenant, and when."""

from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get, put
from litestar.params import PathParameter, RawBody

from api.bodies import check_json, read
from api.entry import ADMIN, enter, record
from api.openapi import documented_body
from api.runtime import NamedRuntime, Runtime
from db.queries.audit import INSERT_RECORD
from db.queries.policies import (
    DELETE_POLICY,
    LOCK_RETENTION,
    PUT_POLICY,
    policy_from_row,
    policy_of,
)
from db.sessions import tenant_transaction
from memory.checks import checked_tenant
from memory.retention import EffectivePolicy, RetentionPolicy, effective_policy

PATH = "/v1/admin/tenants/{tenant_id:str}/policy"
POLICY = msgspec.json.Decoder(RetentionPolicy)
HttpRequest = Request[Any, Any, Any]
Tenant = Annotated[str, PathParameter(description="Whose policy this is.")]


class PolicyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant has set for its retention, and what holds for it."""

    tenant_id: str
    own: RetentionPolicy
    effective: EffectivePolicy


@get(PATH, tags=["admin"], opt=ADMIN)
async def get_policy(
    request: HttpRequest, runtime: NamedRuntime, tenant_id: Tenant
) -> PolicyAnswer:
    """The retention policy of a tenant; a null of its own is the deployment's."""
    await enter(request, runtime, checked_tenant(tenant_id))
    async with tenant_transaction(runtime.engine, [tenant_id]) as connection:
        row = (await connection.execute(policy_of(tenant_id))).one_or_none()
    return answer(runtime, tenant_id, policy_from_row(row))


@put(PATH, operation_class=documented_body(RetentionPolicy), tags=["admin"], opt=ADMIN)
async def put_policy(
    request: HttpRequest, runtime: NamedRuntime, tenant_id: Tenant, body: RawBody
) -> PolicyAnswer:
    """Set the whole policy of a tenant: what the body leaves out is the deployment's again.

    It holds when this answers, also for a run that is under way.
    """
    check_json(request)
    policy = read(POLICY, body)
    await enter(request, runtime, checked_tenant(tenant_id))
    await store(request, runtime, tenant_id, policy)
    return answer(runtime, tenant_id, policy)


@delete(PATH, status_code=200, tags=["admin"], opt=ADMIN)
async def delete_policy(
    request: HttpRequest, runtime: NamedRuntime, tenant_id: Tenant
) -> PolicyAnswer:
    """Forget the policy of a tenant: the deployment's holds again."""
    await enter(request, runtime, checked_tenant(tenant_id))
    await store(request, runtime, tenant_id, None)
    return answer(runtime, tenant_id, RetentionPolicy())


async def store(
    request: HttpRequest, runtime: Runtime, tenant_id: str, policy: RetentionPolicy | None
) -> None:
    """Store a policy, or with None forget it, when no slice of a run is between the two."""
    done = record(request, tenant_id, "policy", {"policy": policy})
    async with tenant_transaction(runtime.engine, [tenant_id]) as connection:
        await connection.execute(LOCK_RETENTION, {"tenant_id": tenant_id})
        if policy is None:
            await connection.execute(DELETE_POLICY, {"tenant_id": tenant_id})
        else:
            values = msgspec.structs.asdict(policy)
            await connection.execute(PUT_POLICY, {"tenant_id": tenant_id, **values})
        await connection.execute(INSERT_RECORD, done)


def answer(runtime: Runtime, tenant_id: str, own: RetentionPolicy) -> PolicyAnswer:
    """What a tenant that has set `own` is told."""
    return PolicyAnswer(
        tenant_id=tenant_id, own=own, effective=effective_policy(runtime.settings, own)
    )
