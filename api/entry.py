"""Whether a caller may do what a handler is for, to the tenants that it is for."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from api.entrance import note_standing
from api.known_keys import WRONG_KEY
from api.problems import ProblemError, TooManyRequestsError
from api.runtime import Runtime
from db.queries.audit import record_parameters
from db.sessions import check_bound, visible_tenants
from memory.access import AccessScope, Caller
from memory.errors import InvalidFieldError
from memory.jobs import ALL_TENANTS
from memory.messages import NewMessage

HttpRequest = Request[Any, Any, Any]

# What a handler says of itself; one that says nothing is for everybody.
READ: Final = {"access": "read"}
WRITE: Final = {"access": "write"}
ADMIN: Final = {"access": "admin"}
# Of the whole deployment, and so nothing for a key that is for some tenants.
OPERATOR: Final = {"access": "admin", "all_tenants": True}


def may_enter(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Raise the 403 for a caller whose key does not have the scope of `handler`, a 401 for none."""
    caller: Caller | None = connection.scope.get("caller")  # type: ignore[assignment]
    access: AccessScope | None = handler.opt.get("access")
    if access is None:
        return
    # The door lets in who is no caller to what is public alone. Should a path be public to it and
    # something else to the router, this is where that ends.
    if caller is None:
        raise ProblemError(401, "unauthorized", WRONG_KEY)
    if access not in caller.scopes:
        has = ", ".join(sorted(caller.scopes))
        raise ProblemError(
            403, "forbidden", f"This takes a key with the scope {access}, not {has}."
        )
    if handler.opt.get("all_tenants") and caller.tenants is not None:
        raise ProblemError(403, "forbidden", "This takes a key that is for all tenants.")


def caller_of(request: HttpRequest) -> Caller:
    """Who asks for what is not for everybody."""
    caller: Caller = request.scope["caller"]  # type: ignore[typeddict-item]
    return caller


def who(request: HttpRequest) -> str:
    """Who asks, for records: `local`, or `key` and the first 8 digits of the key's SHA-256."""
    return caller_of(request).name


def request_id_of(request: HttpRequest) -> str:
    """What the answer, the log and records call the request."""
    return str(request.scope["request_id"])  # type: ignore[typeddict-item]


async def enter(request: HttpRequest, runtime: Runtime, *tenants: str) -> None:
    """Let the caller in to `tenants`, as one request to each of them.

    Raises `ForeignTenantError` for one that the caller's key is not for, whether there is such a
    tenant or not, and the 429 of a tenant whose limit is used up.
    """
    await count(request.scope, runtime, dict.fromkeys(tenants, 0))


async def enter_to_store(scope: Scope, runtime: Runtime, messages: Sequence[NewMessage]) -> None:
    """As `enter`, to the tenants of `messages`, each of which counts against its tenant's limit."""
    stored: dict[str, int] = {}
    for message in messages:
        stored[message.tenant_id] = stored.get(message.tenant_id, 0) + 1
    await count(scope, runtime, stored)


async def count(scope: Scope, runtime: Runtime, tenants: Mapping[str, int]) -> None:
    """Let the caller in to `tenants`, to store so many messages in each."""
    check_bound(tenants)
    # In the log, and in the record of a failure: no name is noted that the caller made up.
    scope["tenant_id"] = min(tenants)  # type: ignore[typeddict-unknown-key]
    standing = await runtime.limiter.admit(runtime.tenant_limits.hits(tenants))
    note_standing(scope, standing)
    if standing is None or standing.retry_after is None:
        return
    if standing.never:
        reason = f"are more than the tenant may store at all: {standing.hit.limit.text}"
        raise InvalidFieldError("messages", reason)
    raise TooManyRequestsError(standing)


async def enter_one_or_all(request: HttpRequest, runtime: Runtime, tenant_id: str | None) -> None:
    """Let the caller in to a tenant, or without one to what is done to all of them."""
    if tenant_id is None:
        check_bound([ALL_TENANTS])
    else:
        await enter(request, runtime, tenant_id)


async def asked_tenants(
    request: HttpRequest, runtime: Runtime, tenant_id: str | None
) -> list[str] | None:
    """Whose rows a list is to have: of a tenant, or of all that are the caller's, None for all."""
    if tenant_id is None:
        return visible_tenants()
    if tenant_id == ALL_TENANTS:
        check_bound([ALL_TENANTS])
    else:
        await enter(request, runtime, tenant_id)
    return [tenant_id]


def record(
    request: HttpRequest, tenant_id: str, action: str, details: dict[str, Any]
) -> dict[str, Any]:
    """The parameters of the record that says what the caller has done."""
    return record_parameters(
        tenant_id, who(request), action, details, request_id=request_id_of(request)
    )
