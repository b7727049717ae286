"""`/v1/admin/tenants/{tenant_id}/settings`: how a tenant's messages are read and ranked."""

from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get, put
from litestar.params import PathParameter, RawBody

from api.bodies import check_json, read
from api.entry import ADMIN, enter, record
from api.openapi import documented_body
from api.runtime import NamedRuntime, Runtime
from memory.checks import checked_tenant
from memory.tenants import Effective, TenantSettings

PATH = "/v1/admin/tenants/{tenant_id:str}/settings"
TENANT_SETTINGS = msgspec.json.Decoder(TenantSettings)
HttpRequest = Request[Any, Any, Any]
Tenant = Annotated[str, PathParameter(description="Whose settings these are.")]


class SettingsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant has set for itself, and what holds for it."""

    tenant_id: str
    own: TenantSettings
    effective: Effective


@get(PATH, tags=["admin"], opt=ADMIN)
async def get_settings(
    request: HttpRequest, runtime: NamedRuntime, tenant_id: Tenant
) -> SettingsAnswer:
    """The settings of a tenant; a null of its own is the deployment's."""
    await enter(request, runtime, checked_tenant(tenant_id))
    return await settings_of(runtime, tenant_id)


@put(PATH, operation_class=documented_body(TenantSettings), tags=["admin"], opt=ADMIN)
async def put_settings(
    request: HttpRequest, runtime: NamedRuntime, tenant_id: Tenant, body: RawBody
) -> SettingsAnswer:
    """Set all settings of a tenant: what the body leaves out is the deployment's again.

    With another language its messages are indexed anew in the background.
    """
    check_json(request)
    settings = read(TENANT_SETTINGS, body)
    await enter(request, runtime, checked_tenant(tenant_id))
    return await changed(request, runtime, tenant_id, settings)


@delete(PATH, status_code=200, tags=["admin"], opt=ADMIN)
async def delete_settings(
    request: HttpRequest, runtime: NamedRuntime, tenant_id: Tenant
) -> SettingsAnswer:
    """Forget what a tenant has set: the deployment's settings hold again."""
    await enter(request, runtime, checked_tenant(tenant_id))
    return await changed(request, runtime, tenant_id, None)


async def changed(
    request: HttpRequest, runtime: Runtime, tenant_id: str, settings: TenantSettings | None
) -> SettingsAnswer:
    """What holds for a tenant after it was given `settings`, or with None none of its own."""
    done = record(request, tenant_id, "settings", {"settings": settings})
    await runtime.tenants.put(tenant_id, settings, done)
    await runtime.answers.changed([tenant_id])
    return await settings_of(runtime, tenant_id)


async def settings_of(runtime: Runtime, tenant_id: str) -> SettingsAnswer:
    """What `tenant_id` has set, and what holds for it."""
    return SettingsAnswer(
        tenant_id=tenant_id,
        own=await runtime.tenants.own(tenant_id),
        effective=await runtime.tenants.effective(tenant_id),
    )
